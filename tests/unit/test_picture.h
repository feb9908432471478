/*
 * Showing a session a picture.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_TEST_PICTURE_H
#define FASTVLM_TESTS_TEST_PICTURE_H

#include <fastvlm/session.h>

/* `rgb` is [side, side, 3] and stays the caller's. */
static inline void test_set_picture(FastvlmSession *session, const guint8 *rgb, int side,
                                    int resolution, FastvlmFit fit)
{
    const FastvlmImage image = {.format = FASTVLM_PIXEL_RGB,
                                .width = side,
                                .height = side,
                                .stride = side * 3,
                                .data = rgb};
    GError *error = NULL;

    fastvlm_session_set_image(session, &image, resolution, fit, &error);
    g_assert_no_error(error);
}

#endif
