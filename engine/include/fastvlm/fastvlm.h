/*
 * libfastvlm: FastVLM on CPUs. Includes the whole public interface.
 *
 *     FastvlmModel *model = fastvlm_model_load("demo", NULL, &error);
 *     FastvlmSession *session = fastvlm_session_new(model);
 *     fastvlm_session_set_image(session, &image, 0, FASTVLM_FIT_PAD, &error);
 *     fastvlm_session_generate(session, NULL, &result, &error);
 *     puts(result.text);
 *
 * error.h      what can go wrong            image.h     pixels, and what the encoder sees
 * tokenizer.h  text to ids and back         model.h     weights, shared
 * session.h    one timeline: picture, prompt, answer         cache.h     packed copies on the disk
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_FASTVLM_H
#define FASTVLM_FASTVLM_H

#include <fastvlm/cache.h>
#include <fastvlm/error.h>
#include <fastvlm/image.h>
#include <fastvlm/model.h>
#include <fastvlm/session.h>
#include <fastvlm/tokenizer.h>

#endif
