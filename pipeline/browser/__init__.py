"""LiteRT.js, which is LiteRT in a browser: its npm package, Chromium to try it in, a demo page."""

from pipeline.targets.browser.page import demo

__all__ = ["demo"]
