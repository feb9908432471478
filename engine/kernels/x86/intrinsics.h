/*
 * The compiler's vector intrinsics, or with FASTVLM_EMULATE the header that this macro names: it
 * says them in plain C, so that tests run on a processor which has no such instructions.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_X86_INTRINSICS_H
#define FASTVLM_KERNELS_X86_INTRINSICS_H

#ifdef FASTVLM_EMULATE
#include FASTVLM_EMULATE
#else
#include <immintrin.h>
#endif

#endif
