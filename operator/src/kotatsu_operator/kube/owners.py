"""Reads the pod that published an EndpointSlice from the API server.

A pod watch can be silent or behind the slice watch, so it is not enough reason to remove a slice.
"""

from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import NotFoundError
from kotatsu_operator.kube.pod import PodView, pod_view
from kotatsu_operator.kube.resources import Pod
from kotatsu_operator.kube.slices import SliceView


async def owner_of(kube: Kube, of: SliceView) -> PodView | None:
    """The activator pod that published a slice; None if it is gone or the slice names no pod.

    Raises the errors of `Unreachable`. A slice's name contains a hash of the pod's uid, so the
    slice of a deleted pod never belongs to another pod.
    """
    if not of.pod_name:
        return None  # edited by hand: it has no owner
    try:
        pod = pod_view(await kube.get(Pod, of.key[0], of.pod_name))
    except NotFoundError:
        return None
    return pod if pod.uid == of.pod_uid else None
