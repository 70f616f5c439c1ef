#!/bin/sh
# Make configure and the Makefile.in files from configure.ac and Makefile.am.
# Needs autoconf, automake, libtool and pkg-config (pkg.m4).
set -e
cd "$(dirname "$0")"
exec autoreconf --install --force "$@"
