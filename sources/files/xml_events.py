"""XML of somebody else's, an element at a time: nothing is fetched, expanded or defined by the document itself."""

from __future__ import annotations

from typing import Any

from lxml import etree


def xml_events(stream: Any) -> Any:
    """The start and the end of every element, as (event, element). Raises lxml's XMLSyntaxError while it is read."""
    return etree.iterparse(
        stream,
        events=("start", "end"),
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def has_document_type(root: Any) -> bool:
    """Whether the document of this element declares a type, and with it perhaps entities."""
    return root.getroottree().docinfo.internalDTD is not None
