/*
 * Bytes as printable characters, as vocab.json and merges.txt spell them.
 *
 *     byte 0x20 <-> U+0120 'Ġ'     byte 0x41 <-> 'A'     byte 0xc3 <-> 'Ã'
 *
 * GPT-2's bytes_to_unicode(): a byte that is a printable Latin-1 character stands for itself, the
 * 68 others are counted up from U+0100 in their order.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_BYTE_MAP_H
#define FASTVLM_TEXT_BYTE_MAP_H

#include <glib.h>

/** The character that stands for `byte`. */
static inline gunichar fastvlm_byte_to_char(guint8 byte)
{
    if (byte <= 0x20)
        return 0x100 + byte;
    if (byte >= 0x7f && byte <= 0xa0)
        return 0x121 + (byte - 0x7f);
    return byte == 0xad ? 0x143 : byte;
}

/** The byte that `character` stands for, or -1. */
static inline int fastvlm_char_to_byte(gunichar character)
{
    if (character >= 0x100 && character <= 0x120)
        return (int)(character - 0x100);
    if (character >= 0x121 && character <= 0x142)
        return (int)(character - 0x121 + 0x7f);
    if (character == 0x143)
        return 0xad;
    if (character <= 0xff && fastvlm_byte_to_char((guint8)character) == character)
        return (int)character;
    return -1;
}

#endif
