/*
 * Fetches one file over HTTPS with libcurl.
 *
 *     fetch_run: until all is there -> ask: one request -> take_head: its answer judged
 *     once, before the first byte is written -> receive: bytes appended to the part
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/fetch.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "tools/fetch_part.h"

#define CONNECT_TIMEOUT_S 30L
#define STALLED_S 60L /* without a byte: the connection is taken for dead */
#define MAX_REDIRECTS 5
#define RECEIVED_BYTES (256L * 1024)
#define FIRST_WAIT_US (1 * G_USEC_PER_SEC)
#define LONGEST_WAIT_US (30 * G_USEC_PER_SEC)
#define SLICE_US (G_USEC_PER_SEC / 10)
#define GOOD_ATTEMPT_BYTES (1 << 20)
#define MAX_VALIDATOR_BYTES 200

/* One request. */
typedef struct {
    FetchPart *part;
    const FetchParams *params;
    CURL *curl;
    GError *error;    /* what a callback found; stops the transfer */
    guint64 asked_at; /* first byte asked for; 0: the whole file */
    guint64 n_before; /* bytes of the part before */
    gboolean judged;  /* take_head() has seen the answer */
    char said[CURL_ERROR_SIZE];
} Attempt;

/* What to do after an attempt. */
typedef enum { DONE, AGAIN, AFRESH, FAILED } Outcome;

/* --- addresses --- */

char *fetch_show_address(const char *url)
{
    CURLU *parsed = curl_url();
    char *text = NULL;
    char *shown;
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK) {
        curl_url_set(parsed, CURLUPART_USER, NULL, 0);
        curl_url_set(parsed, CURLUPART_PASSWORD, NULL, 0);
        curl_url_get(parsed, CURLUPART_URL, &text, 0);
    }
    shown = text ? g_utf8_make_valid(text, -1) : g_strdup("the address given");
    curl_free(text);
    curl_url_cleanup(parsed);
    return shown;
}

/* Whether `host` is a name or number of this machine itself. */
static gboolean is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           strcmp(host, "::1") == 0 ||
           (g_str_has_prefix(host, "127.") && strspn(host, "0123456789.") == strlen(host));
}

static gboolean is_plain_loopback(const char *url)
{
    CURLU *parsed = curl_url();
    char *scheme = NULL, *host = NULL;
    gboolean plain = curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                     curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                     curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                     strcmp(scheme, "http") == 0 && is_loopback(host);
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parsed);
    return plain;
}

gboolean fetch_check_address(const char *url, GError **error)
{
    CURLU *parsed = curl_url();
    char *scheme = NULL;
    gboolean good = curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                    curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                    (strcmp(scheme, "https") == 0 || is_plain_loopback(url));
    curl_free(scheme);
    curl_url_cleanup(parsed);
    if (good)
        return TRUE;
    g_autofree char *shown = fetch_show_address(url);
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                "%s: expected an address with https (http only for this machine itself, as "
                "http://127.0.0.1:8000)",
                shown);
    return FALSE;
}

/* --- errors --- */

G_GNUC_PRINTF(3, 4)
static gboolean fail(Attempt *attempt, FastvlmError code, const char *format, ...)
{
    if (attempt->error)
        return FALSE;
    va_list values;
    va_start(values, format);
    g_autofree char *message = g_strdup_vprintf(format, values);
    va_end(values);
    g_autofree char *shown = fetch_show_address(attempt->params->url);
    g_autofree char *valid = g_utf8_make_valid(message, -1);
    attempt->error = g_error_new(FASTVLM_ERROR, code, "%s: %s", shown, valid);
    return FALSE;
}

static long get_status(const Attempt *attempt)
{
    long status = 0;
    curl_easy_getinfo(attempt->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static gboolean fail_status(Attempt *attempt, long status)
{
    if (status == 404 || status == 410)
        return fail(attempt, FASTVLM_ERROR_NOT_FOUND,
                    "the server has no such file (%ld); the publisher may have moved it: give the "
                    "new place with --base-url",
                    status);
    if (status == 401 || status == 403 || status == 407)
        return fail(
            attempt, FASTVLM_ERROR_READ,
            "the server refuses to give it (%ld); ask whose it is, or give another place with "
            "--base-url",
            status);
    return fail(attempt, FASTVLM_ERROR_READ,
                "the server answered %ld, expected 200 or 206; try again later", status);
}

/* --- the answer's head --- */

static const char *get_header(const Attempt *attempt, const char *name)
{
    struct curl_header *header = NULL;
    if (curl_easy_header(attempt->curl, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return NULL;
    return header->value;
}

/* What tells this file from a later one of the same address; NULL where the server does not say. */
static const char *get_validator(const Attempt *attempt)
{
    const char *tag = get_header(attempt, "ETag");
    const char *validator = tag && tag[0] == '"' ? tag : get_header(attempt, "Last-Modified");
    if (!validator || !*validator || strlen(validator) > MAX_VALIDATOR_BYTES)
        return NULL;
    for (const char *c = validator; *c; c++) {
        if (!g_ascii_isprint(*c))
            return NULL;
    }
    return validator;
}

/* Reads "bytes FIRST-LAST/TOTAL"; FALSE where it is something else. */
static gboolean read_range(const char *text, guint64 *first, guint64 *last, guint64 *total)
{
    char *end = NULL;
    if (!text || g_ascii_strncasecmp(text, "bytes ", 6) != 0 || !g_ascii_isdigit(text[6]))
        return FALSE;
    *first = g_ascii_strtoull(text + 6, &end, 10);
    if (*end != '-' || !g_ascii_isdigit(end[1]))
        return FALSE;
    *last = g_ascii_strtoull(end + 1, &end, 10);
    if (*end != '/' || !g_ascii_isdigit(end[1]))
        return FALSE;
    *total = g_ascii_strtoull(end + 1, &end, 10);
    return *end == '\0' && *first <= *last && *last < *total;
}

static gboolean check_size(Attempt *attempt, guint64 n_total)
{
    const FetchParams *params = attempt->params;
    if (n_total > params->max_bytes)
        return fail(attempt, FASTVLM_ERROR_LIMIT,
                    "%" G_GUINT64_FORMAT " bytes, expected at most %" G_GUINT64_FORMAT
                    "; this is not the model",
                    n_total, params->max_bytes);
    guint64 n_left = n_total - MIN(n_total, attempt->part->n_bytes);
    return fetch_part_check_space(attempt->part, n_left + n_total, &attempt->error);
}

/* The rest of a file that is still the same. */
static gboolean take_rest(Attempt *attempt)
{
    guint64 first, last, total;
    FetchPart *part = attempt->part;
    if (!read_range(get_header(attempt, "Content-Range"), &first, &last, &total))
        return fail(attempt, FASTVLM_ERROR_FORMAT,
                    "the server sends a part of the file without saying which; remove %s to start "
                    "again",
                    part->path);
    if (first != attempt->asked_at || (part->n_total && total != part->n_total))
        return fail(attempt, FASTVLM_ERROR_FORMAT,
                    "the server sends bytes from %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    ", expected from %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    "; remove %s to start again",
                    first, total, attempt->asked_at, part->n_total, part->path);
    part->n_total = total;
    return check_size(attempt, total);
}

/* The whole file: the first time, or because it has changed, or because there are no ranges. */
static gboolean take_whole(Attempt *attempt)
{
    curl_off_t length = -1;
    FetchPart *part = attempt->part;
    curl_easy_getinfo(attempt->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    attempt->n_before = 0;
    return fetch_part_begin(part, attempt->params->url, get_validator(attempt),
                            length > 0 ? (guint64)length : 0, &attempt->error) &&
           check_size(attempt, part->n_total);
}

static gboolean is_redirect(const Attempt *attempt)
{
    long status = get_status(attempt);
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The server's file ends before what was asked for: it is another one by now. */
static gboolean is_beyond(const Attempt *attempt)
{
    return attempt->asked_at > 0 && get_status(attempt) == 416;
}

/* Judges the answer, once; FALSE ends the transfer. */
static gboolean take_head(Attempt *attempt)
{
    if (attempt->judged)
        return attempt->error == NULL;
    attempt->judged = TRUE;
    long status = get_status(attempt);
    if (status == 206 && attempt->asked_at > 0)
        return take_rest(attempt);
    if (status == 200)
        return take_whole(attempt);
    return fail_status(attempt, status);
}

/* --- libcurl's callbacks --- */

static size_t receive(char *bytes, size_t size, size_t n_bytes, void *data)
{
    Attempt *attempt = data;
    FetchPart *part = attempt->part;
    if (is_redirect(attempt) || is_beyond(attempt))
        return n_bytes; /* a page for people */
    if (!take_head(attempt))
        return 0;
    guint64 limit = part->n_total ? part->n_total : attempt->params->max_bytes;
    if (n_bytes > limit - MIN(limit, part->n_bytes)) {
        fail(attempt, FASTVLM_ERROR_FORMAT,
             "the server sends more than the %" G_GUINT64_FORMAT " bytes expected", limit);
        return 0;
    }
    return fetch_part_append(part, bytes, n_bytes, &attempt->error) ? n_bytes : 0;
}

static int report(void *data, curl_off_t n_expected, curl_off_t n_received, curl_off_t n_to_send,
                  curl_off_t n_sent)
{
    Attempt *attempt = data;
    const FetchParams *params = attempt->params;
    FetchPart *part = attempt->part;
    if (!params->progress || params->progress(part->n_bytes, part->n_total, params->progress_data))
        return 0;
    fail(attempt, FASTVLM_ERROR_CANCELLED, "cancelled");
    return 1;
}

/* Before a request goes out: plain http reaches this machine alone, whatever its name leads to. */
static int check_peer(void *data, char *peer, char *own, int peer_port, int own_port)
{
    Attempt *attempt = data;
    char *scheme = NULL;
    curl_easy_getinfo(attempt->curl, CURLINFO_SCHEME, &scheme);
    if (scheme && strcasecmp(scheme, "http") == 0 && !is_loopback(peer)) {
        fail(attempt, FASTVLM_ERROR_READ,
             "leads to http on another machine (%s), where anybody on the way could change the "
             "file; expected https",
             peer);
        return CURL_PREREQFUNC_ABORT;
    }
    return CURL_PREREQFUNC_OK;
}

/* --- one request --- */

static void set_options(Attempt *attempt)
{
    CURL *curl = attempt->curl;
    const FetchParams *params = attempt->params;
    gboolean plain = is_plain_loopback(params->url);
    curl_easy_setopt(curl, CURLOPT_URL, params->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, plain ? "http,https" : "https");
    if (plain)
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, check_peer);
    curl_easy_setopt(curl, CURLOPT_PREREQDATA, attempt);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, params->user_agent);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALLED_S);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, RECEIVED_BYTES);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, attempt->said);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, attempt);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, report);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, attempt);
}

/* Asks for what is missing alone, where that can be asked; free the list. */
static struct curl_slist *set_range(Attempt *attempt)
{
    FetchPart *part = attempt->part;
    if (!fetch_part_can_resume(part, attempt->params->url))
        return NULL;
    g_autofree char *range = g_strdup_printf("%" G_GUINT64_FORMAT "-", part->n_bytes);
    g_autofree char *condition = g_strdup_printf("If-Range: %s", part->validator);
    struct curl_slist *headers = curl_slist_append(NULL, condition);
    attempt->asked_at = part->n_bytes;
    curl_easy_setopt(attempt->curl, CURLOPT_RANGE, range);
    curl_easy_setopt(attempt->curl, CURLOPT_HTTPHEADER, headers);
    return headers;
}

static gboolean is_passing_status(long status)
{
    return status == 429 || status == 500 || (status >= 502 && status <= 504);
}

/* Whether what went wrong may be right the next time. */
static gboolean is_passing(const Attempt *attempt, CURLcode code)
{
    switch (code) {
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return TRUE;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return attempt->part->n_bytes > 0; /* it was reachable: the network went away */
    default:
        return FALSE;
    }
}

/* Why not all is there, in words; what libcurl says of a cut is for programmers. */
static void fail_transfer(Attempt *attempt, CURLcode code)
{
    const FetchPart *part = attempt->part;
    if (code == CURLE_SSL_CACERT_BADFILE)
        fail(attempt, FASTVLM_ERROR_READ,
             "%s; without it no server can be trusted: install the package ca-certificates",
             attempt->said[0] ? attempt->said : curl_easy_strerror(code));
    else if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT)
        fail(attempt, FASTVLM_ERROR_READ,
             "%s; see whether this machine has a network, or give another place with --base-url",
             attempt->said[0] ? attempt->said : curl_easy_strerror(code));
    else if (code != CURLE_OK && code != CURLE_PARTIAL_FILE)
        fail(attempt, FASTVLM_ERROR_READ, "%s",
             attempt->said[0] ? attempt->said : curl_easy_strerror(code));
    else if (part->n_total)
        fail(attempt, FASTVLM_ERROR_READ,
             "the connection ended after %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes",
             part->n_bytes, part->n_total);
    else
        fail(attempt, FASTVLM_ERROR_READ,
             "the connection ended after %" G_GUINT64_FORMAT " bytes, before the file did",
             part->n_bytes);
}

static Outcome judge(Attempt *attempt, CURLcode code)
{
    FetchPart *part = attempt->part;
    long status = get_status(attempt);
    if (code == CURLE_OK && is_beyond(attempt))
        return AFRESH;
    if (is_passing_status(status) && (code == CURLE_OK || code == CURLE_WRITE_ERROR)) {
        fail_status(attempt, status);
        return AGAIN;
    }
    if (code == CURLE_OK)
        take_head(attempt); /* an answer without a byte never came to receive() */
    if (attempt->error)
        return FAILED;
    if (code != CURLE_OK) {
        fail_transfer(attempt, code);
        return is_passing(attempt, code) ? AGAIN : FAILED;
    }
    if (part->n_bytes == 0) {
        fail(attempt, FASTVLM_ERROR_FORMAT,
             "the server's file is empty, expected a zip archive; try again later");
        return FAILED;
    }
    if (part->n_total && part->n_bytes < part->n_total) {
        fail_transfer(attempt, code);
        return AGAIN;
    }
    return fetch_part_finish(part, &attempt->error) ? DONE : FAILED;
}

/* Turns to where the answer points; FALSE where that is nowhere to go. */
static gboolean follow(Attempt *attempt)
{
    char *target = NULL;
    curl_easy_getinfo(attempt->curl, CURLINFO_REDIRECT_URL, &target);
    if (!target)
        return fail(attempt, FASTVLM_ERROR_READ, "the server answered %ld without saying where to",
                    get_status(attempt));
    g_autofree char *shown = fetch_show_address(target);
    gboolean plain = is_plain_loopback(target);
    if (!fetch_check_address(target, NULL) || (plain && !is_plain_loopback(attempt->params->url)))
        return fail(attempt, FASTVLM_ERROR_READ,
                    "leads to %s, expected https: anybody on the way could change the file", shown);
    g_autofree char *url = g_strdup(target);
    curl_easy_setopt(attempt->curl, CURLOPT_URL, url);
    return TRUE;
}

static CURLcode perform(Attempt *attempt)
{
    for (int n = 0; n <= MAX_REDIRECTS; n++) {
        CURLcode code = curl_easy_perform(attempt->curl);
        if (code != CURLE_OK || !is_redirect(attempt))
            return code;
        if (!follow(attempt))
            return CURLE_WRITE_ERROR;
    }
    fail(attempt, FASTVLM_ERROR_READ,
         "leads to another address more than %d times, which has no end", MAX_REDIRECTS);
    return CURLE_WRITE_ERROR;
}

/* One request; *error is set unless all is there. */
static Outcome ask(FetchPart *part, const FetchParams *params, FetchResult *result, GError **error)
{
    Attempt attempt = {
        .part = part,
        .params = params,
        .n_before = part->n_bytes,
        .curl = curl_easy_init(),
    };
    if (!attempt.curl) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ, "libcurl cannot be started");
        return FAILED;
    }
    set_options(&attempt);
    struct curl_slist *headers = set_range(&attempt);
    if (!headers)
        attempt.n_before = 0;
    CURLcode code = perform(&attempt);
    Outcome outcome = judge(&attempt, code);
    if (part->n_bytes > attempt.n_before && attempt.judged)
        result->n_fetched += part->n_bytes - attempt.n_before;
    curl_slist_free_all(headers);
    curl_easy_cleanup(attempt.curl);
    if (attempt.error)
        g_propagate_error(error, attempt.error);
    return outcome;
}

/* --- until all is there --- */

/* FALSE where it was interrupted. */
static gboolean wait_a_while(FetchPart *part, const FetchParams *params, gint64 wait_us)
{
    gint64 end_us = g_get_monotonic_time() + wait_us;
    while (g_get_monotonic_time() < end_us) {
        if (params->progress &&
            !params->progress(part->n_bytes, part->n_total, params->progress_data))
            return FALSE;
        g_usleep(SLICE_US);
    }
    return TRUE;
}

static gboolean is_whole(const FetchPart *part, const char *url)
{
    return part->n_total > 0 && part->n_bytes == part->n_total && g_strcmp0(part->url, url) == 0;
}

gboolean fetch_run(FetchPart *part, const FetchParams *params, FetchResult *result, GError **error)
{
    int n_failed = 0;
    guint64 n_most = part->n_bytes;
    *result = (FetchResult){0};
    while (!is_whole(part, params->url)) {
        GError *cause = NULL;
        Outcome outcome = ask(part, params, result, &cause);
        if (outcome == DONE)
            break;
        if (outcome == AFRESH) { /* the server's file is shorter than the part */
            if (!fetch_part_begin(part, params->url, NULL, 0, error))
                return FALSE;
            continue;
        }
        if (part->n_bytes >= n_most + GOOD_ATTEMPT_BYTES) {
            n_most = part->n_bytes;
            n_failed = 0;
        }
        if (outcome == FAILED || n_failed >= params->n_retries) {
            g_propagate_error(error, cause);
            return FALSE;
        }
        gint64 wait_us = MIN(FIRST_WAIT_US << MIN(n_failed, 10), LONGEST_WAIT_US);
        n_failed++;
        result->n_cuts++;
        if (!wait_a_while(part, params, wait_us)) {
            g_clear_error(&cause);
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        g_clear_error(&cause);
    }
    result->n_bytes = part->n_bytes;
    return TRUE;
}
