/* blas.c - sole owner of cblas.  See blas.h. */
#include <config.h>

#include <cblas.h>

#include "ann/base/blas.h"

#pragma weak openblas_get_num_threads
#pragma weak openblas_set_num_threads
int openblas_get_num_threads(void);
void openblas_set_num_threads(int);

void blas_gemm_nt(const float *a, size_t m, size_t lda, const float *b, size_t n, size_t ldb,
                  size_t k, float *out, size_t ldo)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1.0f, a,
                (int)lda, b, (int)ldb, 0.0f, out, (int)ldo);
}

int blas_threads(void)
{
    return openblas_get_num_threads ? openblas_get_num_threads() : 1;
}

void blas_set_threads(int n)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(n);
}
