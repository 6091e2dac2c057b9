"""How networks are proposed and chosen."""
