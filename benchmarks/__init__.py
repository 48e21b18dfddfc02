"""What each step of esdseg costs, beside a plain course's way and the least there is to do."""

SUBTILE_SIZE = 4
"""Label cells along each side of the subtiles that are measured."""
