"""Why a model names a class: maps of what in an image speaks for it; one file per method.

A method is a module of `methods/` with

    TITLE: str                          what it is called
    needs(subject) -> str | None        why it cannot explain the model; None: it can
    heat(subject, image, k) -> [H, W]   how much each pixel speaks for class `k`; 0: not at all

`subject` is a `pipeline.explain.subject.Subject`, `image` uint8 `[H, W, C]` of its size.
"""
