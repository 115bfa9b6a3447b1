"""The pure core: frames and values in, frames and values out. No clock, socket, log or actor."""
