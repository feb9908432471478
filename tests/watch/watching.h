/*
 * fastvlm-watch as its tests run it: a process, and the lines that it writes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef WATCHING_H
#define WATCHING_H

#include <gio/gio.h>
#include <jansson.h>

/** Where the program is; set by main(). */
extern const char *watch_program;

typedef struct {
    GSubprocess *process;
    GThread *reader;
    GAsyncQueue *lines; /* char, owned; "" at the end */
    GString *all;       /* what was written so far, for the eye of the reader of this queue */
} Watch;

/** `words` are the rest of its command line, up to NULL. Waits are short. */
Watch *watch_begin(const char *const *words);

Watch *watch_begin_one(const char *url);

/** Stops it by SIGTERM; it must end well. */
void watch_end(Watch *watch);

/** A text of a line, "" where there is none. */
const char *get_field(const json_t *line, const char *key);

/** Reads on until a line has that type and, where not NULL, that state; the caller frees it. */
json_t *watch_await(Watch *watch, const char *type, const char *state);

void watch_await_state(Watch *watch, const char *state);

/** A caption whose picture was taken after now; its sequence. */
json_int_t watch_await_caption(Watch *watch);

/** How often these words were written so far. */
guint watch_count(const Watch *watch, const char *words);

#endif
