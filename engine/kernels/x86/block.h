/*
 * What the kernels of all x86 tiers cut their work with.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_X86_BLOCK_H
#define FASTVLM_KERNELS_X86_BLOCK_H

/** A part of a kernel that takes constants, which the compiler must see. */
#define BLOCK inline __attribute__((always_inline))

/** Rows of the next block of at most `most`, so that `n_left` rows fall into even ones. */
static inline int take_rows(int n_left, int most)
{
    const int n_blocks = (n_left + most - 1) / most;

    return (n_left + n_blocks - 1) / n_blocks;
}

/**
 * Calls f(..., n) with n, 1 to 6 or 1 to 12, as a constant that f's blocks of registers are made for.
 * Under emulation there are no registers, and blocks of each size would take minutes to compile; so they
 * would for the sanitisers, of which no speed is asked.
 */
#if defined(FASTVLM_EMULATE) || defined(__SANITIZE_ADDRESS__)
#define WITH_ROWS_6(n, f, ...) f(__VA_ARGS__, n)
#define WITH_ROWS_12(n, f, ...) f(__VA_ARGS__, n)
#else
#define ROWS_CASE(n, f, ...) \
    case n:                  \
        f(__VA_ARGS__, n);   \
        break;
#define ROWS_CASES_6(f, ...)     \
    ROWS_CASE(1, f, __VA_ARGS__) \
    ROWS_CASE(2, f, __VA_ARGS__) \
    ROWS_CASE(3, f, __VA_ARGS__) \
    ROWS_CASE(4, f, __VA_ARGS__) \
    ROWS_CASE(5, f, __VA_ARGS__) \
    ROWS_CASE(6, f, __VA_ARGS__)
#define WITH_ROWS_6(n, f, ...)           \
    do {                                 \
        switch (n) {                     \
            ROWS_CASES_6(f, __VA_ARGS__) \
        default:                         \
            __builtin_unreachable();     \
        }                                \
    } while (0)
#define WITH_ROWS_12(n, f, ...)           \
    do {                                  \
        switch (n) {                      \
            ROWS_CASES_6(f, __VA_ARGS__)  \
            ROWS_CASE(7, f, __VA_ARGS__)  \
            ROWS_CASE(8, f, __VA_ARGS__)  \
            ROWS_CASE(9, f, __VA_ARGS__)  \
            ROWS_CASE(10, f, __VA_ARGS__) \
            ROWS_CASE(11, f, __VA_ARGS__) \
            ROWS_CASE(12, f, __VA_ARGS__) \
        default:                          \
            __builtin_unreachable();      \
        }                                 \
    } while (0)
#endif

#endif
