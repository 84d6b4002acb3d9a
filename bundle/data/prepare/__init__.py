"""Public data sets as they are downloaded, brought into MSD layout: linked where they fit, converted only where they must be."""
