/*
 * ^C and its kin: the session at work is cancelled and the command leaves in good order.
 *
 *     SIGINT, SIGTERM, SIGHUP -> pipe -> thread -> fastvlm_session_cancel()
 *
 * Another one, a second or more later, ends the process at once.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_INTERRUPT_H
#define FASTVLM_TOOLS_INTERRUPT_H

#include <fastvlm/session.h>

G_BEGIN_DECLS

/** Starts watching. Call it once. */
void interrupt_watch(void);

/** The session that a signal cancels, from now on; NULL: none. It must outlive this. */
void interrupt_attach(FastvlmSession *session);

/** A signal has come. */
gboolean interrupt_raised(void);

/** The exit code of an interrupted command: 128 + the signal. */
int interrupt_get_code(void);

/** Writes that the command was interrupted, and returns the exit code: 128 + the signal. */
int interrupt_fail(void);

G_END_DECLS

#endif
