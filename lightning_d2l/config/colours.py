"""The colours that figures of runs and of studies share: those of training, validation and test data first."""

BLUE, ORANGE, RED, GREEN, GREY = "#0067A5", "#C98500", "#B03A06", "#006B4F", "#767676"
"""Near to the hues of Okabe and Ito (2008), but darker."""
