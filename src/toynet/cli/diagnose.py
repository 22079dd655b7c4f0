"""`toynet diagnose`"""

from toynet.cli import options

EXAMPLE = "Example:  toynet diagnose my-run"


def diagnose(run: options.RunName, json: options.Json = False) -> None:
    """Read a run's curves as the report's authors did: what stands out, and the one change to try next."""
    import toynet
    from toynet.reporting.readings import try_by

    opened = toynet.open_run(run)
    findings = toynet.diagnose(opened)
    if json:
        from json import dumps

        print(dumps([finding.model_dump() for finding in findings], indent=2))
        return
    for number, finding in enumerate(findings, start=1):
        print(f"{number}. {finding.title} ({finding.severity})")
        print(f"   {finding.evidence}")
        print(f"   {finding.why}")
        for key, value in finding.change.items():
            print(f"   try: {try_by(opened.folder, opened.path, key, value)}")
        print()
