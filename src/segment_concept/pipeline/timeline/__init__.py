"""Why a track is as it is: a page with a timeline, beside the overlay video."""
