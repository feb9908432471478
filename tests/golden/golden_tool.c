/*
 * golden_tool: what the shell tests need besides the fastvlm command.
 *
 *     checkpoint CASE DIR [--tokenizer DIR]  writes a synthetic checkpoint: "tiny", "speaking" (room for
 *                                            the demo's tokenizer), or a file of vectors that says its case
 *     picture SIZE OUT.png                   draws the test picture
 *     sizes VECTORS, ids VECTORS NAME        lists what is in a file of vectors
 *     shapes DUMP                            checks that a dump has its four tensors
 *     compare VECTORS SIZE DUMP              holds a dump against vectors
 *     size PICTURE SIDE                      checks a picture's size
 *     same-picture A B SIDE                  compares two pictures' pixels
 *
 * Exit 0; or 1 and a line that says what is wrong.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/image_file.h"

#include "checkpoint.h"
#include "vectors.h"

static const char *const dump_names[] = {"vision", "projected", "logits", "tokens"};

static int fail(GError *error)
{
    g_printerr("%s\n", error->message);
    g_error_free(error);
    return 1;
}

static int write_checkpoint(int argc, char **argv)
{
    GError *error = NULL;
    const char *tokenizer = argc == 4 && strcmp(argv[2], "--tokenizer") == 0 ? argv[3] : NULL;
    return checkpoint_write(argv[0], argv[1], tokenizer, &error) ? 0 : fail(error);
}

static int draw_picture(int argc, char **argv)
{
    GError *error = NULL;
    int size = atoi(argv[0]);
    guint8 *picture = vectors_draw_picture(size);
    gboolean written = image_file_write_png(argv[1], picture, size, size, &error);
    g_free(picture);
    return written ? 0 : fail(error);
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int list_sizes(int argc, char **argv)
{
    Vectors *vectors = vectors_open(argv[0]);
    if (!vectors)
        return 1;
    GArray *sizes = g_array_new(FALSE, FALSE, sizeof(int));
    const char *key;
    json_t *value;
    json_object_foreach(vectors->header, key, value)
    {
        int size = atoi(key);
        if (size > 0 && g_str_has_suffix(key, ".tokens"))
            g_array_append_val(sizes, size);
    }
    g_array_sort(sizes, compare_ints);
    for (guint i = 0; i < sizes->len; i++)
        printf("%d\n", g_array_index(sizes, int, i));
    g_array_unref(sizes);
    vectors_free(vectors);
    return 0;
}

static int list_ids(int argc, char **argv)
{
    Vectors *vectors = vectors_open(argv[0]);
    Vector vector;
    gboolean found = vectors && vectors_find(vectors, argv[1], &vector) && !vector.floats;
    for (int i = 0; found && i < vector.n_rows; i++)
        printf("%s%d", i ? "," : "", ((const gint32 *)vector.data)[i]);
    printf("\n");
    if (!found)
        g_printerr("%s: no ids \"%s\"\n", argv[0], argv[1]);
    vectors_free(vectors);
    return found ? 0 : 1;
}

static int check_shapes(int argc, char **argv)
{
    Vectors *dump = vectors_open(argv[0]);
    gboolean good = dump != NULL;
    for (gsize i = 0; good && i < G_N_ELEMENTS(dump_names); i++) {
        Vector vector;
        good = vectors_find(dump, dump_names[i], &vector) && vector.n_dims == (i < 2 ? 2 : 1);
        if (!good)
            g_printerr("%s: no good tensor \"%s\"\n", argv[0], dump_names[i]);
    }
    vectors_free(dump);
    return good ? 0 : 1;
}

static int compare_dump(int argc, char **argv)
{
    Vectors *golden = vectors_open(argv[0]), *dump = vectors_open(argv[2]);
    gboolean good = golden && dump;
    for (gsize i = 0; good && i < G_N_ELEMENTS(dump_names); i++) {
        Vector found = {0};
        char *wrong = vectors_find(dump, dump_names[i], &found)
                          ? vectors_compare(golden, atoi(argv[1]), dump_names[i], &found)
                          : g_strdup_printf("%s: no tensor \"%s\"", argv[2], dump_names[i]);
        if (wrong)
            g_printerr("%s\n", wrong);
        good = !wrong;
        g_free(wrong);
    }
    vectors_free(golden);
    vectors_free(dump);
    return good ? 0 : 1;
}

static gboolean read_square(const char *path, int side, RgbPicture *picture)
{
    GError *error = NULL;
    if (!image_file_read(path, picture, &error)) {
        fail(error);
        return FALSE;
    }
    if (picture->width == side && picture->height == side)
        return TRUE;
    g_printerr("%s: %d x %d, expected %d x %d\n", path, picture->width, picture->height, side,
               side);
    return FALSE;
}

static int check_size(int argc, char **argv)
{
    RgbPicture picture = {0};
    gboolean good = read_square(argv[0], atoi(argv[1]), &picture);
    rgb_picture_clear(&picture);
    return good ? 0 : 1;
}

static int compare_pictures(int argc, char **argv)
{
    RgbPicture a = {0}, b = {0};
    int side = atoi(argv[2]);
    gboolean good = read_square(argv[0], side, &a) && read_square(argv[1], side, &b);
    if (good && memcmp(a.data, b.data, (gsize)side * (gsize)side * 3) != 0) {
        g_printerr("%s and %s differ\n", argv[0], argv[1]);
        good = FALSE;
    }
    rgb_picture_clear(&a);
    rgb_picture_clear(&b);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int n_arguments; /* at least */
        int (*run)(int argc, char **argv);
    } commands[] = {
        {"checkpoint", 2, write_checkpoint},
        {"picture", 2, draw_picture},
        {"sizes", 1, list_sizes},
        {"ids", 2, list_ids},
        {"shapes", 1, check_shapes},
        {"compare", 3, compare_dump},
        {"size", 2, check_size},
        {"same-picture", 3, compare_pictures},
    };
    for (gsize i = 0; argc > 1 && i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0 && argc - 2 >= commands[i].n_arguments)
            return commands[i].run(argc - 2, argv + 2);
    }
    g_printerr("golden_tool: see the head of golden_tool.c\n");
    return 2;
}
