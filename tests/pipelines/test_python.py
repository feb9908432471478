#!/usr/bin/env python3
"""A Python program reads captions off buffers and the bus, with nothing but PyGObject.

    videotestsrc ! fastvlmcaption ! videoconvert ! videoscale ! fakesink
        -> custom meta of each buffer, as docs/element.md shows it; element messages

Wants GST_PLUGIN_PATH, FASTVLM_MODELS and GST_REGISTRY set. Speaks TAP.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import sys

try:
    import gi
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
except (ImportError, ValueError) as missing:
    print(f"1..0 # SKIP no GStreamer for Python here: {missing}")
    sys.exit(0)

PIPELINE = """videotestsrc pattern=smpte num-buffers=3 ! video/x-raw,framerate=1/1,width=320,height=240
    ! fastvlmcaption mode=complete ! videoconvert ! videoscale
    ! video/x-raw,format=RGB,width=64,height=64 ! fakesink name=sink signal-handoffs=true"""
FIELDS = {"type": str, "text": str, "prompt": str, "pts": int, "running-time": int,
          "stream-time": int, "sequence": int, "confidence": float, "tokens": int,
          "ttft-ms": float, "total-ms": float, "age-ms": float}
n_checks = n_failed = 0


def check(name, right, found=""):
    global n_checks, n_failed
    n_checks += 1
    n_failed += not right
    print(f"{'ok' if right else 'not ok'} {n_checks} {name}" + ("" if right else f": {found!r}"))


def read_meta(_sink, buffer, _pad, found):
    meta = buffer.get_custom_meta("GstFastvlmCaptionMeta")
    found.append(meta.get_structure().get_string("text") if meta else None)


def run():
    """(texts of the buffers' metadata, final messages' structures, an error or None)."""
    texts, finals = [], []
    pipeline = Gst.parse_launch(PIPELINE)
    pipeline.get_by_name("sink").connect("handoff", read_meta, texts)
    pipeline.set_state(Gst.State.PLAYING)
    bus, error = pipeline.get_bus(), None
    wanted = Gst.MessageType.EOS | Gst.MessageType.ERROR | Gst.MessageType.ELEMENT
    while True:
        message = bus.timed_pop_filtered(60 * Gst.SECOND, wanted)
        if message is None or message.type == Gst.MessageType.ERROR:
            error = message.parse_error() if message else "nothing for a minute"
            break
        if message.type == Gst.MessageType.EOS:
            break
        structure = message.get_structure()
        if structure.has_name("fastvlm-caption") and structure.get_string("type") == "final":
            finals.append({name: structure.get_value(name) for name in FIELDS})
    pipeline.set_state(Gst.State.NULL)
    return texts, finals, error


def main():
    Gst.init(None)
    texts, finals, error = run()
    check("the pipeline runs to its end", error is None, error)
    check("three captions come over the bus", len(finals) == 3, finals)
    check("each of their fields has the type it should have",
          all(isinstance(final[name], kind) for final in finals for name, kind in FIELDS.items()),
          finals)
    check("their numbers rise by one", [final["sequence"] for final in finals] == [1, 2, 3], finals)
    check("every buffer carries its caption through conversion and scaling",
          texts and texts == [final["text"] for final in finals], texts)
    print(f"1..{n_checks}")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
