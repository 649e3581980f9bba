"""The pod that published a slice, read from the API server.

A watch may be silent, or behind that of the slices: no slice is taken from a pod on its word alone.
"""

from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import NotFoundError
from kotatsu_operator.kube.pod import PodView, pod_view
from kotatsu_operator.kube.resources import Pod
from kotatsu_operator.kube.slices import SliceView


async def owner_of(kube: Kube, of: SliceView) -> PodView | None:
    """The activator's pod behind a slice; None when it is gone, or the slice names none.

    Raises what a call raises that the API server does not answer. A slice's name has a hash of the
    pod's uid in it: the slice of a pod that is gone never becomes that of another.
    """
    if not of.pod_name:
        return None  # somebody has edited it: it is nobody's
    try:
        pod = pod_view(await kube.get(Pod, of.key[0], of.pod_name))
    except NotFoundError:
        return None
    return pod if pod.uid == of.pod_uid else None
