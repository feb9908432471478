/*
 * Tells ThreadSanitizer of GLib's and GStreamer's ways to make threads wait for each other.
 *
 * GLib locks by futex(2) and counts references by its own atomics, neither of which the sanitizer sees
 * in a GLib that was not built with it: every access under a GMutex would be reported. Preloaded, the
 * functions below come first, call the real ones and add what the sanitizer must know: who lets go of
 * something (release) happens before who takes it (acquire).
 *
 *     a thread: ... -> g_mutex_unlock: release(mutex)      g_mutex_lock: acquire(mutex) -> ...
 *
 * What GLib and GStreamer do inside themselves is not seen: their calls to their own functions do not
 * come by here. Nothing is told that these functions do not promise, so that no race of ours is hidden.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <dlfcn.h>
#include <glib-object.h>
#include <gst/gst.h>

/* Weak: in a program without the sanitizer (the shell that starts a test) there is nothing to tell. */
void __tsan_acquire(void *address) __attribute__((weak));
void __tsan_release(void *address) __attribute__((weak));

/* The real function of that name, found once. */
#define REAL(name) ((__typeof__(&name))find_real(&real_##name, #name))
#define DECLARE_REAL(name) static void *real_##name

#pragma GCC visibility push(default)

static void *find_real(void **slot, const char *name)
{
    void *real = __atomic_load_n(slot, __ATOMIC_RELAXED);
    if (!real) {
        real = dlsym(RTLD_NEXT, name);
        __atomic_store_n(slot, real, __ATOMIC_RELAXED);
    }
    return real;
}

static void acquire(gconstpointer address)
{
    if (__tsan_acquire)
        __tsan_acquire((void *)address);
}

static void release(gconstpointer address)
{
    if (__tsan_release)
        __tsan_release((void *)address);
}

/* A function that takes a lock; one that tries to; one that lets go. */
#define LOCK(name, type)    \
    DECLARE_REAL(name);     \
    void(name)(type * lock) \
    {                       \
        REAL(name)(lock);   \
        acquire(lock);      \
    }
#define TRY(name, type)                  \
    DECLARE_REAL(name);                  \
    gboolean(name)(type * lock)          \
    {                                    \
        gboolean got = REAL(name)(lock); \
        if (got)                         \
            acquire(lock);               \
        return got;                      \
    }
#define UNLOCK(name, type)  \
    DECLARE_REAL(name);     \
    void(name)(type * lock) \
    {                       \
        release(lock);      \
        REAL(name)(lock);   \
    }

LOCK(g_mutex_lock, GMutex)
TRY(g_mutex_trylock, GMutex)
UNLOCK(g_mutex_unlock, GMutex)
LOCK(g_rec_mutex_lock, GRecMutex)
TRY(g_rec_mutex_trylock, GRecMutex)
UNLOCK(g_rec_mutex_unlock, GRecMutex)
LOCK(g_rw_lock_writer_lock, GRWLock)
TRY(g_rw_lock_writer_trylock, GRWLock)
UNLOCK(g_rw_lock_writer_unlock, GRWLock)
LOCK(g_rw_lock_reader_lock, GRWLock)
TRY(g_rw_lock_reader_trylock, GRWLock)
UNLOCK(g_rw_lock_reader_unlock, GRWLock)

/* --- conditions: a wait lets go of the mutex and takes it again --- */

DECLARE_REAL(g_cond_wait);
void g_cond_wait(GCond *cond, GMutex *mutex)
{
    release(mutex);
    REAL(g_cond_wait)(cond, mutex);
    acquire(mutex);
}

DECLARE_REAL(g_cond_wait_until);
gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
    release(mutex);
    gboolean woken = REAL(g_cond_wait_until)(cond, mutex, end_time);
    acquire(mutex);
    return woken;
}

/* --- once --- */

DECLARE_REAL(g_once_init_enter);
gboolean(g_once_init_enter)(volatile void *location)
{
    gboolean first = REAL(g_once_init_enter)(location);
    if (!first)
        acquire((gconstpointer)location);
    return first;
}

DECLARE_REAL(g_once_init_leave);
void(g_once_init_leave)(volatile void *location, gsize result)
{
    release((gconstpointer)location);
    REAL(g_once_init_leave)(location, result);
}

DECLARE_REAL(g_once_impl);
gpointer g_once_impl(GOnce *once, GThreadFunc function, gpointer argument)
{
    gpointer result = REAL(g_once_impl)(once, function, argument);
    acquire(once);
    return result;
}

/* --- threads: GLib keeps a count of its own beside what pthreads tell --- */

DECLARE_REAL(g_thread_join);
gpointer g_thread_join(GThread *thread)
{
    gpointer result = REAL(g_thread_join)(thread);
    acquire(thread);
    return result;
}

/* --- counts: what one owner did comes before what the last one's unref frees --- */

#define UNREF(name, type)   \
    DECLARE_REAL(name);     \
    void(name)(type object) \
    {                       \
        release(object);    \
        acquire(object);    \
        REAL(name)(object); \
    }

UNREF(g_object_unref, gpointer)
UNREF(gst_object_unref, gpointer)
UNREF(gst_mini_object_unref, GstMiniObject *)

/* The function that clears what the last owner leaves, told before that the others are done. */
static __thread GDestroyNotify clear_last;

static void clear_acquired(gpointer box)
{
    acquire(box);
    if (clear_last)
        clear_last(box);
}

DECLARE_REAL(g_atomic_rc_box_release_full);
void g_atomic_rc_box_release_full(gpointer box, GDestroyNotify clear)
{
    GDestroyNotify outer = clear_last;
    release(box);
    clear_last = clear;
    REAL(g_atomic_rc_box_release_full)(box, clear_acquired);
    clear_last = outer;
}

void g_atomic_rc_box_release(gpointer box)
{
    g_atomic_rc_box_release_full(box, NULL);
}

/* --- what hands objects from thread to thread --- */

DECLARE_REAL(gst_bus_post);
gboolean gst_bus_post(GstBus *bus, GstMessage *message)
{
    release(message);
    return REAL(gst_bus_post)(bus, message);
}

DECLARE_REAL(gst_bus_timed_pop_filtered);
GstMessage *gst_bus_timed_pop_filtered(GstBus *bus, GstClockTime timeout, GstMessageType types)
{
    GstMessage *message = REAL(gst_bus_timed_pop_filtered)(bus, timeout, types);
    if (message)
        acquire(message);
    return message;
}

DECLARE_REAL(g_async_queue_push);
void g_async_queue_push(GAsyncQueue *queue, gpointer data)
{
    release(data);
    REAL(g_async_queue_push)(queue, data);
}

DECLARE_REAL(g_async_queue_try_pop);
gpointer g_async_queue_try_pop(GAsyncQueue *queue)
{
    gpointer data = REAL(g_async_queue_try_pop)(queue);
    if (data)
        acquire(data);
    return data;
}

DECLARE_REAL(g_async_queue_pop);
gpointer g_async_queue_pop(GAsyncQueue *queue)
{
    gpointer data = REAL(g_async_queue_pop)(queue);
    acquire(data);
    return data;
}

DECLARE_REAL(g_async_queue_timeout_pop);
gpointer g_async_queue_timeout_pop(GAsyncQueue *queue, guint64 timeout)
{
    gpointer data = REAL(g_async_queue_timeout_pop)(queue, timeout);
    if (data)
        acquire(data);
    return data;
}

DECLARE_REAL(gst_task_join);
gboolean gst_task_join(GstTask *task)
{
    gboolean joined = REAL(gst_task_join)(task);
    acquire(task);
    return joined;
}

#pragma GCC visibility pop
