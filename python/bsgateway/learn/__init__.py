"""Learning from outcomes: training, evaluation, calibration. Needs the `train` extra.

Nothing here is on the request path.
"""
