"""What several folders of tests share: small networks, made videos, and stored references."""
