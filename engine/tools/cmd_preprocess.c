/*
 * fastvlm preprocess: what the encoder would see of a picture.
 *
 *     file -> RGB -> pad | crop | stretch to a square -> PNG
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/image.h>

#include "tools/image_file.h"
#include "tools/interrupt.h"
#include "tools/loading.h"
#include "tools/output.h"

typedef struct {
    ModelArguments common; /* of which only json */
    int resolution;
    int fit; /* a FastvlmFit */
    const char *output;
} Preprocess;

static gboolean preprocess_file(const Preprocess *preprocess, const char *path,
                                const char *output_name, GError **error)
{
    RgbPicture picture = {0};
    if (!image_file_read(path, &picture, error))
        return FALSE;
    int side = preprocess->resolution;
    guint8 *square = g_malloc((gsize)side * (gsize)side * 3);
    FastvlmImage view = rgb_picture_view(&picture);
    gboolean done =
        fastvlm_image_preprocess(&view, side, (FastvlmFit)preprocess->fit, square, error);
    if (!done)
        g_prefix_error(error, "%s: ", path);
    rgb_picture_clear(&picture);
    done = done && image_file_write_png(output_name, square, side, side, error);
    g_free(square);
    return done;
}

static int write_square(const Preprocess *preprocess, const char *path)
{
    GError *error = NULL;
    OutputFile file;
    if (!output_file_begin(&file, preprocess->output, &error))
        return loading_fail(error);
    gboolean done = preprocess_file(preprocess, path, output_file_name(&file), &error);
    if (!done || interrupt_raised()) {
        output_file_abort(&file);
        return error ? loading_fail(error) : interrupt_fail();
    }
    if (!output_file_commit(&file, &error))
        return loading_fail(error);
    if (preprocess->common.json) {
        json_t *object = json_object();
        json_object_set_new(object, "image", output_json_path(path));
        json_object_set_new(object, "output", output_json_path(preprocess->output));
        json_object_set_new(object, "resolution", json_integer(preprocess->resolution));
        json_object_set_new(object, "fit", json_string(fit_names[preprocess->fit]));
        output_json_line(object);
    }
    return output_finish();
}

static int run_preprocess(const ToolCommand *command, int argc, char **argv)
{
    /* There is no model whose own it could be. */
    static const char *const fits[] = {"pad", "crop", "stretch", NULL};
    Preprocess preprocess = {0};
    const Option options[] = {
        OPTION_ROW(OPTION_INT, "resolution", &preprocess.resolution, "R",
                   "side of the result in pixels, a multiple of 64", .min = 64, .max = 4096,
                   .multiple = 64),
        OPTION_ROW(OPTION_CHOICE, "fit", &preprocess.fit, "F",
                   "pad, crop or stretch to a square; default pad", .choices = fits),
        OPTION_ROW(OPTION_PATH, "output", &preprocess.output, "OUT.png", "file to write"),
        JSON_OPTION(&preprocess.common),
        OPTION_END,
    };
    GPtrArray *arguments = g_ptr_array_new();
    int code = EXIT_OK;
    if (options_parse(command, options, argc, argv, arguments, &code)) {
        if (arguments->len != 1)
            code = tool_usage(command, "preprocess: expected one IMAGE, found %u", arguments->len);
        else if (preprocess.resolution == 0)
            code = tool_usage(command, "preprocess: --resolution R is missing");
        else if (!preprocess.output)
            code = tool_usage(command, "preprocess: --output OUT.png is missing");
        else {
            interrupt_watch();
            code = write_square(&preprocess, arguments->pdata[0]);
        }
    }
    g_ptr_array_unref(arguments);
    return code;
}

const ToolCommand tool_command_preprocess = {
    .name = "preprocess",
    .arguments = "IMAGE --resolution R --output OUT.png [OPTION]...",
    .summary = "write what the encoder would see of a picture",
    .description =
        "Makes a square of a PNG or JPEG file as the encoder gets it: padded with black,\n"
        "cropped to its middle, or stretched, and resized with an antialiasing bicubic.",
    .examples = "  fastvlm preprocess photo.jpg --resolution 512 --output seen.png\n"
                "  fastvlm preprocess photo.jpg --resolution 256 --fit crop --output seen.png",
    .run = run_preprocess,
};
