/* rng.h - seeded random numbers: SplitMix64, stateless hashing and a stream.
 *
 * Place: base.  Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
 * OOPSLA 2014.  Invariant: the same seed gives the same numbers on every machine. */
#ifndef KITH_BASE_RNG_H
#define KITH_BASE_RNG_H

#include <stdint.h>

static inline uint64_t rng_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The i-th number of the stream of a seed, without state. */
static inline uint64_t rng_at(uint64_t seed, uint64_t i)
{
    return rng_mix(rng_mix(seed + 0x9e3779b97f4a7c15u) + (i + 1) * 0x9e3779b97f4a7c15u);
}

static inline uint64_t rng_next(uint64_t *state)
{
    return rng_mix(*state += 0x9e3779b97f4a7c15u);
}

/* Below n (n > 0), uniform but for 2^-64 * n (Lemire's multiplication). */
static inline uint64_t rng_below(uint64_t *state, uint64_t n)
{
    return (uint64_t)((__extension__(unsigned __int128)rng_next(state) * n) >> 64);
}

/* In [0, 1). */
static inline double rng_unit(uint64_t *state)
{
    return (double)(rng_next(state) >> 11) * 0x1p-53;
}

#endif
