/*
 * Whole characters out of a stream of bytes. See utf8_stream.h.
 *
 * Table 3-7 of Unicode 15, "Well-Formed UTF-8 Byte Sequences": only the second byte's range depends
 * on the first.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/utf8_stream.h"

#define REPLACEMENT "\357\277\275" /* U+FFFD */

/* Bytes of the character that `first` begins, 0 where none begins so. */
static guint character_length(guint8 first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* TRUE where `byte` may follow what is held. */
static gboolean continues(const FastvlmUtf8Stream *stream, guint8 byte)
{
    guint8 lowest = 0x80, highest = 0xbf;
    if (stream->n_held == 1) {
        switch (stream->held[0]) {
        case 0xe0: /* shorter forms of U+0000 .. U+07FF */
            lowest = 0xa0;
            break;
        case 0xed: /* surrogates */
            highest = 0x9f;
            break;
        case 0xf0: /* shorter forms of U+0000 .. U+FFFF */
            lowest = 0x90;
            break;
        case 0xf4: /* beyond U+10FFFF */
            highest = 0x8f;
            break;
        default:
            break;
        }
    }
    return byte >= lowest && byte <= highest;
}

static void feed_byte(FastvlmUtf8Stream *stream, guint8 byte, GString *out)
{
    if (stream->n_held > 0 && !continues(stream, byte))
        fastvlm_utf8_stream_flush(stream, out);
    if (stream->n_held == 0 && character_length(byte) == 0) {
        g_string_append(out, REPLACEMENT);
        return;
    }
    stream->held[stream->n_held++] = byte;
    if (stream->n_held == character_length(stream->held[0])) {
        g_string_append_len(out, (const char *)stream->held, (gssize)stream->n_held);
        stream->n_held = 0;
    }
}

void fastvlm_utf8_stream_feed(FastvlmUtf8Stream *stream, const char *bytes, gsize n_bytes,
                              GString *out)
{
    for (gsize i = 0; i < n_bytes; i++)
        feed_byte(stream, (guint8)bytes[i], out);
}

void fastvlm_utf8_stream_flush(FastvlmUtf8Stream *stream, GString *out)
{
    if (stream->n_held > 0)
        g_string_append(out, REPLACEMENT);
    stream->n_held = 0;
}
