# Macros of kith's configure.ac. All begin with KITH_; configure.ac forbids unexpanded ones.

# KITH_CHECK_C11: the compiler takes C11 with atomics.
AC_DEFUN([KITH_CHECK_C11], [
  AC_MSG_CHECKING([for C11 with atomics])
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[
#include <stdatomic.h>
_Static_assert(sizeof(int) >= 4, "int");
static _Thread_local int t;
]], [[atomic_int a; atomic_init(&a, t); return atomic_fetch_add(&a, 1);]])],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([a C11 compiler with <stdatomic.h> is needed])])
])

# KITH_ARG_SANITIZERS: --enable-sanitizers=address,undefined or =thread.
AC_DEFUN([KITH_ARG_SANITIZERS], [
  AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers=LIST], [build with -fsanitize=LIST (address,undefined or thread)])],
    [AS_IF([test "$enableval" = yes], [enable_sanitizers=address,undefined])],
    [enable_sanitizers=no])
  SANITIZE_FLAGS=
  AS_IF([test "$enable_sanitizers" != no], [
    SANITIZE_FLAGS="-fsanitize=$enable_sanitizers -fno-omit-frame-pointer"
    AS_CASE([$enable_sanitizers], [*undefined*],
      [SANITIZE_FLAGS="$SANITIZE_FLAGS -fno-sanitize-recover=undefined"])
    kith_save=$CFLAGS
    CFLAGS="$CFLAGS $SANITIZE_FLAGS"
    AC_MSG_CHECKING([whether $SANITIZE_FLAGS links])
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes])],
      [AC_MSG_RESULT([no])
       AC_MSG_ERROR([this compiler lacks the sanitizers asked for])])
    CFLAGS=$kith_save
  ])
  AC_SUBST([SANITIZE_FLAGS])
  AM_CONDITIONAL([SANITIZERS], [test "$enable_sanitizers" != no])
])

# KITH_ARG_COVERAGE: --enable-coverage instruments for gcov; "make coverage" prints the table.
AC_DEFUN([KITH_ARG_COVERAGE], [
  AC_ARG_ENABLE([coverage],
    [AS_HELP_STRING([--enable-coverage], [build for gcov; see "make coverage"])],
    [], [enable_coverage=no])
  COVERAGE_FLAGS=
  AS_IF([test "$enable_coverage" != no], [COVERAGE_FLAGS="--coverage -fprofile-update=atomic"])
  AC_SUBST([COVERAGE_FLAGS])
  AM_CONDITIONAL([COVERAGE], [test "$enable_coverage" != no])
])

# KITH_ARG_WERROR: --enable-werror, for CI; never on by default.
AC_DEFUN([KITH_ARG_WERROR], [
  AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--enable-werror], [turn compiler warnings into errors])],
    [], [enable_werror=no])
])

# KITH_CHECK_WARNINGS: fill WARN_CFLAGS with those of our warnings the compiler knows.
AC_DEFUN([KITH_CHECK_WARNINGS], [
  WARN_CFLAGS=
  kith_save=$CFLAGS
  m4_foreach_w([kith_flag], [-Wall -Wextra -Wshadow -Wvla -Wpointer-arith -Wwrite-strings
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wundef
    -Wimplicit-fallthrough -Wformat=2], [
    CFLAGS="$kith_save -Werror kith_flag"
    AC_MSG_CHECKING([whether $CC knows kith_flag])
    AC_COMPILE_IFELSE([AC_LANG_SOURCE([[typedef int kith_nothing;]])],
      [AC_MSG_RESULT([yes])
       WARN_CFLAGS="$WARN_CFLAGS kith_flag"],
      [AC_MSG_RESULT([no])])
  ])
  CFLAGS=$kith_save
  AS_IF([test "$enable_werror" != no], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
  AC_SUBST([WARN_CFLAGS])
])

# KITH_CHECK_PTHREAD: the flag that compiles and links threads.
AC_DEFUN([KITH_CHECK_PTHREAD], [
  AC_MSG_CHECKING([for pthreads])
  kith_save=$CFLAGS
  CFLAGS="$CFLAGS -pthread"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <pthread.h>
static void *run(void *p) { return p; }]],
    [[pthread_t t; return pthread_create(&t, 0, run, 0);]])],
    [AC_MSG_RESULT([-pthread])],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([POSIX threads are needed])])
  CFLAGS=$kith_save
  AC_SUBST([PTHREAD_CFLAGS], [-pthread])
])

# KITH_PKG_FIRST(NAME, MODULES, PACKAGE): NAME_CFLAGS and NAME_LIBS from the first of the
# pkg-config MODULES there is, and NAME_PC, its name, for our own .pc file.
AC_DEFUN([KITH_PKG_FIRST], [
  AC_ARG_VAR([$1_CFLAGS], [C compiler flags for $1, overriding pkg-config])
  AC_ARG_VAR([$1_LIBS], [linker flags for $1, overriding pkg-config])
  $1_PC=
  AC_MSG_CHECKING([for $1 ($2)])
  AS_IF([test -n "$$1_LIBS"], [AC_MSG_RESULT([given: $$1_LIBS])], [
    for kith_module in $2; do
      AS_IF([$PKG_CONFIG --exists "$kith_module" 2>/dev/null], [
        $1_PC=$kith_module
        $1_CFLAGS=`$PKG_CONFIG --cflags "$kith_module"`
        $1_LIBS=`$PKG_CONFIG --libs "$kith_module"`
        break
      ])
    done
    AC_MSG_RESULT([${$1_PC:-no}])
    AS_IF([test -z "$$1_PC"],
      [AC_MSG_ERROR([$1 not found; on Debian install $3, or run ./quickstart])])
  ])
  AC_SUBST([$1_PC])
])

# KITH_CHECK_BLAS: cblas and LAPACK, from OpenBLAS if there, else from any cblas. Sets
# BLAS_CFLAGS, BLAS_LIBS, BLAS_PC and kith_blas_choice.
AC_DEFUN([KITH_CHECK_BLAS], [
  AC_ARG_VAR([BLAS_CFLAGS], [C compiler flags for cblas])
  AC_ARG_VAR([BLAS_LIBS], [linker flags for cblas and LAPACK])
  BLAS_PC=
  kith_save=$LIBS
  kith_save_cppflags=$CPPFLAGS
  AS_IF([test -n "$BLAS_LIBS"], [kith_blas_choice=given], [
    kith_blas_choice=
    for kith_module in openblas cblas; do
      AS_IF([$PKG_CONFIG --exists "$kith_module" 2>/dev/null], [
        kith_blas_choice=$kith_module
        BLAS_PC=$kith_module
        BLAS_CFLAGS=`$PKG_CONFIG --cflags "$kith_module"`
        BLAS_LIBS=`$PKG_CONFIG --libs "$kith_module"`
        break
      ])
    done
    AS_IF([test -z "$kith_blas_choice"], [
      AC_SEARCH_LIBS([cblas_sgemm], [openblas cblas blas],
        [kith_blas_choice=found
         AS_IF([test "$ac_cv_search_cblas_sgemm" != "none required"],
           [BLAS_LIBS=$ac_cv_search_cblas_sgemm])],
        [AC_MSG_ERROR([no cblas found; on Debian install libopenblas-dev, or run ./quickstart])])
      LIBS=$kith_save
    ])
  ])
  LIBS="$BLAS_LIBS $LIBS"
  CPPFLAGS="$CPPFLAGS $BLAS_CFLAGS"
  AC_CHECK_FUNC([cblas_sgemm], [], [AC_MSG_ERROR([$BLAS_LIBS does not link cblas_sgemm])])
  AC_CHECK_HEADERS([cblas.h], [], [AC_MSG_ERROR([cblas.h not found])])
  AC_CHECK_FUNCS([openblas_set_num_threads openblas_set_num_threads_local])
  # OpenBLAS usually holds LAPACK too; a plain cblas never does.
  AC_CHECK_FUNC([ssyevd_], [], [
    AC_SEARCH_LIBS([ssyevd_], [lapack],
      [BLAS_LIBS="$BLAS_LIBS $ac_cv_search_ssyevd_"],
      [AC_MSG_ERROR([no LAPACK found; on Debian install libopenblas-dev or liblapack-dev])])
  ])
  LIBS=$kith_save
  CPPFLAGS=$kith_save_cppflags
  AC_SUBST([BLAS_PC])
])

# KITH_CHECK_ISA(NAME, FLAGS, INCLUDES, BODY): if BODY compiles and links with FLAGS, the
# conditional HAVE_NAME is true, CFLAGS_NAME is set and HAVE_NAME is defined in config.h.
AC_DEFUN([KITH_CHECK_ISA], [
  AC_MSG_CHECKING([for $1 intrinsics])
  kith_save=$CFLAGS
  CFLAGS="$CFLAGS $2"
  AC_LINK_IFELSE([AC_LANG_SOURCE([m4_if([$3], [], [], [$3])
int main(int argc, char **argv)
{
  (void)argv;
$4
}])], [kith_have_$1=yes], [kith_have_$1=no])
  CFLAGS=$kith_save
  AC_MSG_RESULT([$kith_have_$1])
  CFLAGS_$1=
  AS_IF([test "$kith_have_$1" = yes], [
    CFLAGS_$1="$2"
    kith_isas="$kith_isas $1"
    AC_DEFINE([HAVE_$1], [1], [Define if the $1 kernels are built.])
  ])
  AC_SUBST([CFLAGS_$1])
  AM_CONDITIONAL([HAVE_$1], [test "$kith_have_$1" = yes])
])
