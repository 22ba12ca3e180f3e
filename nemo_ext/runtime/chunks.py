"""A vocoder in pieces of one length: a captured CUDA graph for the piece, and windows that join without a seam.

A generator of convolutions sees a limited number of frames to each side (HiFi-GAN V1: 13), which
``runtime.vocoder.measured_reach`` measures. A window that has them on both sides gives, in its middle, what the whole
utterance would; at an utterance's own ends the window ends there too. What sums phases up over time, as a Vocos with
harmonics does, has no such number and runs whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nemo_ext.errors import NemoExtError
from nemo_ext.runtime.cuda import Buffer, DeviceArray, Graph
from nemo_ext.runtime.tensorrt import TensorRTSession


@dataclass(frozen=True)
class Window:
    """Frames ``start`` to ``start + chunk`` go in; of what comes out, frames ``first`` to ``last`` are used."""

    start: int
    first: int
    last: int


def windows(frames: int, chunk: int, context: int) -> Iterator[Window]:
    """Windows of ``chunk`` frames that cover an utterance of ``frames``, of at least ``chunk``, once.

    Raises:
        NemoExtError: a chunk has no frame that is free of its context.
    """
    if chunk <= 2 * context:
        raise NemoExtError(f"a chunk of {chunk} frames is all context: take more than {2 * context}")
    if frames < chunk:
        raise ValueError(f"{frames} frames are no chunk of {chunk}")
    done = 0
    while done < frames:
        start = min(max(0, done - context), frames - chunk)
        last = frames if start + chunk == frames else start + chunk - context
        yield Window(start, done, last)
        done = last


class CapturedVocoder:
    """The vocoder's engine at one fixed shape, as a CUDA graph: a launch instead of hundreds.

    ``context``: frames that the vocoder hears to each side, as `measured_reach` gives them. ``batch`` utterances at
    once, ``chunk`` frames of them.

    Raises:
        NemoExtError: the vocoder hears too far for a context (None), the shape is outside the engine's profile, or
            the engine cannot be captured.
    """

    def __init__(self, session: TensorRTSession, context: int | None, batch: int = 1, chunk: int = 128) -> None:
        if context is None:
            raise NemoExtError(f"{session.path.name} hears too far to be run in chunks: run it whole")
        next(windows(chunk, chunk, context))
        self._session, self._cuda, self.chunk, self.context = session, session.cuda, chunk, context
        (self._in,), (self._out,) = session.inputs, session.outputs
        mels = session.limits[self._in.name][0][1]
        self._buffers = (Buffer(self._cuda), Buffer(self._cuda))
        self._spec = self._buffers[0].array((batch, mels, chunk), self._in.dtype)
        session.check({self._in.name: self._spec})
        self._whole = Buffer(self._cuda)
        self._graph, self._audio = self._captured()
        self.hop = self._audio.shape[-1] // chunk

    def decode(self, spec: DeviceArray) -> DeviceArray:
        """``spec (B, n_mels, T_mel)`` on the GPU -> audio ``(B, 1, T_mel * hop)`` there; the next call overwrites it.

        Raises:
            NemoExtError: the batch is another than the captured one, or the utterance is shorter than a chunk and
                outside the engine's profile.
        """
        *rows, frames = spec.shape
        if tuple(rows) != self._spec.shape[:-1] or spec.dtype != self._spec.dtype:
            raise NemoExtError(
                f"input '{self._in.name}' is {spec.shape} {spec.dtype}, and {self._spec.shape} was captured"
            )
        if frames < self.chunk:
            return self._session.run_on_device({self._in.name: spec})[self._out.name]
        audio = self._whole.array((*self._audio.shape[:-1], frames * self.hop), self._audio.dtype)
        for window in windows(frames, self.chunk, self.context):
            self._cuda.copy_columns(self._spec, 0, spec, window.start, self.chunk)
            self._graph.launch()
            at, source = window.first * self.hop, (window.first - window.start) * self.hop
            self._cuda.copy_columns(audio, at, self._audio, source, (window.last - window.first) * self.hop)
        return audio

    def close(self) -> None:
        """Give graph and memory back."""
        self._cuda.synchronize()
        self._graph.close()
        for owned in (*self._buffers, self._whole):
            owned.close()

    def _captured(self) -> tuple[Graph, DeviceArray]:
        context = self._session.context(fixed=True)  # its own: a graph goes on using the memory of its context
        context.set_input_shape(self._in.name, self._spec.shape)
        context.set_tensor_address(self._in.name, self._spec.address)
        context.infer_shapes()
        audio = self._buffers[1].array(tuple(context.get_tensor_shape(self._out.name)), np.dtype(self._out.dtype))
        context.set_tensor_address(self._out.name, audio.address)
        stream, library = self._cuda.stream, self._session.library

        def execute() -> None:
            if not context.execute_async_v3(stream):
                raise NemoExtError(f"{self._session.path.name} did not run: {library.why()}")

        execute()  # once before: the first run of a shape prepares what cannot be captured
        self._cuda.synchronize()
        self._session.keep_fixed(context)
        if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(stream):
            raise NemoExtError(f"{library} cannot capture {self._session.path.name}: run it without CUDA graphs")
        graph = self._cuda.capture(execute)
        self._context = context  # the graph works in its memory
        return graph, audio
