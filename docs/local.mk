# Pages and examples. Man pages are added by their owners:  dist_man_MANS += docs/man/ann.1
