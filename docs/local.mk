# Pages and examples. Man pages are added by their owners:  dist_man_MANS += docs/man/ann.1
EXTRA_DIST += docs/ARCHITECTURE.md docs/STYLE.md docs/testing.md
