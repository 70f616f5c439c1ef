/* blas.h - the one place that talks to BLAS and LAPACK.
 *
 * Place: base.  OpenBLAS threads are process-wide, so the library never sets their number; it
 * asks for it, and lets either OpenBLAS or its own pool work in parallel, never both. */
#ifndef KITH_BASE_BLAS_H
#define KITH_BASE_BLAS_H

#include <stdbool.h>
#include <stddef.h>

/* out [m, n] (row stride ldo) = a [m, k] times b [n, k] transposed; row strides lda, ldb in
 * floats. */
void blas_gemm_nt(const float *a, size_t m, size_t lda, const float *b, size_t n, size_t ldb,
                  size_t k, float *out, size_t ldo);

/* out [m, n] (row stride ldo) = a [k, m] transposed times b [k, n]; row strides lda, ldb in
 * floats. */
void blas_gemm_tn(const float *a, size_t m, size_t lda, const float *b, size_t n, size_t ldb,
                  size_t k, float *out, size_t ldo);

/* The orthogonal matrix nearest to a [n, n], in place: U V' of the singular value decomposition
 * U S V'.  False: no convergence, or out of memory. */
bool blas_orthogonal(double *a, size_t n);

/* The eigenvalues of the symmetric a [n, n], ascending, and in row i of a the i-th one's
 * vector, of length 1.  False: no convergence, or out of memory. */
bool blas_eigen(double *a, size_t n, double *values);

/* How many threads one call of BLAS uses by itself; 1 where it cannot be asked. */
int blas_threads(void);

/* Programs only: OpenBLAS's number of threads for this process. */
void blas_set_threads(int n);

#endif
