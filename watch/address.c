/*
 * Addresses; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "address.h"

#include <gio/gio.h>
#include <string.h>

#define HIDDEN "***"

/* Of NAME=REST; NULL where there is none. A query has = too, but a / or : before it. */
static char *split_name(const char **text)
{
    const gsize n = strspn(*text, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "._-");

    if (n == 0 || (*text)[n] != '=') {
        return NULL;
    }
    char *name = g_strndup(*text, n);
    *text += n + 1;
    return name;
}

static char *make_name(const char *text)
{
    char *name = g_strndup(text, 64);

    g_strcanon(name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "._-", '-');
    return name;
}

/* rtsp and http: everything secret is taken out of the location. */
static gboolean parse_url(WatchAddress *address, const char *text, GError **error)
{
    GUri *uri = g_uri_parse(
        text, G_URI_FLAGS_HAS_PASSWORD | G_URI_FLAGS_ENCODED_PATH | G_URI_FLAGS_ENCODED_QUERY,
        NULL);

    if (uri == NULL || g_uri_get_host(uri) == NULL || *g_uri_get_host(uri) == '\0') {
        g_clear_pointer(&uri, g_uri_unref);
        /* The text may have a password in a place where nobody looks for one. */
        g_set_error(
            error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
            "an address is no URL: write rtsp://USER:PASSWORD@HOST:PORT/PATH, with %%40 for "
            "an @ in the password");
        return FALSE;
    }
    address->kind = g_str_has_prefix(text, "rtsp") ? WATCH_RTSP : WATCH_HTTP;
    address->user = g_strdup(g_uri_get_user(uri));
    address->password = g_strdup(g_uri_get_password(uri));
    address->secret = g_strdup(g_uri_get_query(uri));
    address->location = g_uri_join(
        G_URI_FLAGS_ENCODED_PATH | G_URI_FLAGS_ENCODED_QUERY, g_uri_get_scheme(uri), NULL,
        g_uri_get_host(uri), g_uri_get_port(uri), g_uri_get_path(uri), g_uri_get_query(uri), NULL);
    if (address->name == NULL) {
        address->name = make_name(g_uri_get_host(uri));
    }
    g_uri_unref(uri);
    return TRUE;
}

static gboolean parse_path(WatchAddress *address, const char *text, GError **error)
{
    address->kind = g_str_has_prefix(text, "/dev/") ? WATCH_DEVICE : WATCH_FILE;
    if (!g_file_test(text, G_FILE_TEST_EXISTS)) {
        g_set_error(
            error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
            "%s: no such file: name an rtsp:// or http:// address, a /dev/video device or a "
            "video file",
            text);
        return FALSE;
    }
    address->location = g_canonicalize_filename(text, NULL);
    if (address->name == NULL) {
        char *base = g_path_get_basename(text);
        address->name = make_name(base);
        g_free(base);
    }
    return TRUE;
}

WatchAddress *watch_address_parse(const char *text, GError **error)
{
    WatchAddress *address = g_new0(WatchAddress, 1);

    address->name = split_name(&text);
    const gboolean is_url = g_str_has_prefix(text, "rtsp://") ||
                            g_str_has_prefix(text, "rtsps://") ||
                            g_str_has_prefix(text, "http://") || g_str_has_prefix(text, "https://");
    if (!(is_url ? parse_url(address, text, error) : parse_path(address, text, error))) {
        g_clear_pointer(&address, watch_address_free);
    }
    return address;
}

void watch_address_free(WatchAddress *address)
{
    if (address == NULL) {
        return;
    }
    g_free(address->name);
    g_free(address->location);
    g_free(address->user);
    g_free(address->password);
    g_free(address->secret);
    g_free(address);
}

static void hide(GString *text, const char *secret)
{
    if (secret == NULL || *secret == '\0') {
        return;
    }
    char *escaped = g_uri_escape_string(secret, NULL, FALSE);
    g_string_replace(text, secret, HIDDEN, 0);
    g_string_replace(text, escaped, HIDDEN, 0);
    g_free(escaped);
}

char *watch_address_redact(const WatchAddress *address, const char *text)
{
    GString *safe = g_string_new(text);

    hide(safe, address->secret);
    hide(safe, address->password);
    return g_string_free(safe, FALSE);
}
