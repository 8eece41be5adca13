"""Charts: from typed rows to a Vega-Lite specification, light or dark, from 320 pixels on.

Every chart is declared once, here. Positions that a grammar of graphics cannot find by itself, such
as the tiles of a treemap or labels that must not collide, are computed in pixels from the measured
width of the text; all else is Vega-Lite's.
"""
