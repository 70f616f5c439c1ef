# The models that come along, as data: README.md says what made them.
modelsdir = $(pkgdatadir)/models
dist_models_DATA = models/minilm-l6-v2.kith models/english-v1.kith models/NOTICE.md
EXTRA_DIST += models/README.md models/make_texts.py models/texts.txt
