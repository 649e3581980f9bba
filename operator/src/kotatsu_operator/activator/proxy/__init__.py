"""Bytes between client and pod, and the limits on connections and memory."""
