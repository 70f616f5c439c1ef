# Tests of the build itself: layers, public header, exports, installation, examples.
shell_tests += tests/layers.sh tests/headers.sh tests/exports.sh
EXTRA_DIST += tests/soak.sh tests/coverage.sh
