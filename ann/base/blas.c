/* blas.c - sole owner of cblas.  See blas.h. */
#include <config.h>

#include <cblas.h>

#include "ann/base/blas.h"
#include "ann/base/memory.h"

/* LAPACK's driver for symmetric matrices (divide and conquer), Fortran's way of calling. */
void dsyevd_(const char *job, const char *half, const int *n, double *a, const int *lda,
             double *values, double *work, const int *lwork, int *iwork, const int *liwork,
             int *info, size_t job_length, size_t half_length);

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

bool blas_eigen(double *a, size_t n, double *values)
{
    const int order = (int)n;
    int info = 0, asked = -1, iwork_best = 0;
    double work_best = 0;
    dsyevd_("V", "U", &order, a, &order, values, &work_best, &asked, &iwork_best, &asked, &info,
            1, 1);
    if (info != 0)
        return false;
    const int lwork = (int)work_best, liwork = iwork_best;
    double *work = mem_alloc((size_t)lwork * sizeof *work);
    int *iwork = mem_alloc((size_t)liwork * sizeof *iwork);
    if (work && iwork)
        dsyevd_("V", "U", &order, a, &order, values, work, &lwork, iwork, &liwork, &info, 1, 1);
    const bool done = work && iwork && info == 0;
    mem_free(work);
    mem_free(iwork);
    return done;
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
