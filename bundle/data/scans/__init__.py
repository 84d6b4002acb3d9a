"""Finding scans: what is one, what is left alone, and a name for each that no other has."""

from bundle.data.scans.find import FoundScans, Scan, find_scans, labelled_structures, listed_scans, reference_labels, scans_now

__all__ = ["FoundScans", "Scan", "find_scans", "labelled_structures", "listed_scans", "reference_labels", "scans_now"]
