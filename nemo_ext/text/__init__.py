"""Written text -> the tokens that an acoustic model reads. `frontend.TextFrontend` is the door."""
