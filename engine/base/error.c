/*
 * The error domain of libfastvlm.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/error.h>

G_DEFINE_QUARK(fastvlm - error - quark, fastvlm_error)
