"""A stand-in for FastDeploy, for tests only; see the README beside this folder."""
