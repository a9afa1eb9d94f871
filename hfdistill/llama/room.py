"""How large a decode loop's cache is."""


class Room:
    """Rows and positions that a cache has room for: what its rows need and a little more, so that it is not made anew
    at every step, and less again as soon as half would do.

    Args:
        most_rows (`int`): never more rows than these.
        fewest_rows (`int`, *optional*, defaults to 0): never fewer.
        block (`int`): positions come in blocks of so many.
        fewest_positions (`int`, *optional*, defaults to 0): never fewer.
    """

    def __init__(self, most_rows: int, block: int, fewest_rows: int = 0, fewest_positions: int = 0):
        self.most_rows, self.fewest_rows = most_rows, fewest_rows
        self.block, self.fewest_positions = block, fewest_positions
        self.rows = self.positions = 0

    def fit(self, rows: int, positions: int) -> bool:
        """Makes room for so many, and says whether anything changed."""
        rows = max(rows, self.fewest_rows)
        positions = max(-(-positions // self.block) * self.block, self.fewest_positions)
        if rows <= self.rows <= 2 * rows and positions <= self.positions <= 2 * positions:
            return False
        # Rows that join one by one shall not make it anew each.
        self.rows = rows if rows <= self.rows else min(self.most_rows, rows + rows // 4)
        self.positions = positions
        return True
