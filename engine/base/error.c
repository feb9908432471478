/*
 * The error domain of libfastvlm.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/error.h>

GQuark fastvlm_error_quark(void)
{
    return g_quark_from_static_string("fastvlm-error-quark");
}
