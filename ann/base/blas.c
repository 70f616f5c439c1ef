/* blas.c - sole owner of cblas.  See blas.h. */
#include <config.h>

#include <cblas.h>

#include "ann/base/blas.h"
#include "ann/base/memory.h"

/* LAPACK's driver for symmetric matrices (divide and conquer), Fortran's way of calling. */
void dsyevd_(const char *job, const char *half, const int *n, double *a, const int *lda,
             double *values, double *work, const int *lwork, int *iwork, const int *liwork,
             int *info, size_t job_length, size_t half_length);

/* The singular value decomposition (divide and conquer). */
void dgesdd_(const char *job, const int *m, const int *n, double *a, const int *lda,
             double *values, double *u, const int *ldu, double *vt, const int *ldvt, double *work,
             const int *lwork, int *iwork, int *info, size_t job_length);

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

void blas_gemm_tn(const float *a, size_t m, size_t lda, const float *b, size_t n, size_t ldb,
                  size_t k, float *out, size_t ldo)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1.0f, a,
                (int)lda, b, (int)ldb, 0.0f, out, (int)ldo);
}

/* Fortran takes rows for columns: the factors are those of the transposed matrix, and so is
 * their product. */
bool blas_orthogonal(double *a, size_t n)
{
    const int order = (int)n, asked = -1;
    int info = 0;
    double work_best = 0;
    double *u = mem_alloc(n * n * sizeof *u), *vt = mem_alloc(n * n * sizeof *vt);
    double *values = mem_alloc(n * sizeof *values), *work = NULL;
    int *iwork = mem_alloc(8 * n * sizeof *iwork);
    if (u && vt && values && iwork)
        dgesdd_("A", &order, &order, a, &order, values, u, &order, vt, &order, &work_best,
                &asked, iwork, &info, 1);
    const int lwork = (int)work_best;
    if (lwork > 0 && info == 0)
        work = mem_alloc((size_t)lwork * sizeof *work);
    if (work)
        dgesdd_("A", &order, &order, a, &order, values, u, &order, vt, &order, work, &lwork,
                iwork, &info, 1);
    const bool done = work && info == 0;
    if (done)
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, order, order, order, 1, u, order,
                    vt, order, 0, a, order);
    mem_free(u);
    mem_free(vt);
    mem_free(values);
    mem_free(work);
    mem_free(iwork);
    return done;
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
