"""The OCI profile, as ``oci setup config`` and ``oci session authenticate`` write it.

``oci.config`` reads the file. Over its entries go the variables by which the OCI CLI and
``aidp-cli`` replace single ones (OCI_CLI_USER and so on), so that a job that has only variables
needs no file. What a profile holds is secret in part: no error here repeats more of it than names
of entries and paths, and errors of the parser, which quote the file, are not chained.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from typing import NamedTuple

from mlflow.exceptions import MlflowException

from mlflow_oci_store.settings import DEFAULTS, AccessSettings

# The same table as aidp-cli's.
OVERRIDES = {
    "OCI_CLI_USER": "user",
    "OCI_CLI_FINGERPRINT": "fingerprint",
    "OCI_CLI_KEY_FILE": "key_file",
    "OCI_CLI_KEY_CONTENT": "key_content",
    "OCI_CLI_TENANCY": "tenancy",
    "OCI_CLI_PASSPHRASE": "pass_phrase",
    "OCI_CLI_SECURITY_TOKEN_FILE": "security_token_file",
}


class Profile(NamedTuple):
    """The entries of a profile.

    Attributes:
        name: the profile's name.
        entries: what it holds, without empty entries; secrets among them.
        description: for messages, ``profile DEFAULT in ~/.oci/config``.
    """

    name: str
    entries: Mapping[str, str]
    description: str = ""

    def __repr__(self) -> str:
        return f"Profile({self.description!r}, {sorted(self.entries)})"

    def path(self, entry: str) -> str:
        """Return the path that an entry holds, with ``~`` expanded.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if there is no such entry.
        """
        if entry not in self.entries:
            raise MlflowException.invalid_parameter_value(
                f"There is no {entry} in {self.description}: add it, or choose another kind of "
                "authentication with ?auth=... in the tracking URI or MLFLOW_OCI_DP_AUTH."
            )
        return os.path.expanduser(self.entries[entry])


def read_profile(settings: AccessSettings) -> Profile:
    """Read the profile that the settings name, with the variables that replace its entries.

    Returns:
        The profile; without entries, if nobody named one and the default does not exist.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, if a profile that was named does not exist, or its
            file cannot be used.
    """
    entries = _entries(settings)
    named = (settings.profile, settings.config_file) != (
        DEFAULTS["profile"],
        DEFAULTS["config_file"],
    )
    if named and not entries:
        raise missing_profile(settings)
    description = f"profile {settings.profile} in {settings.config_file}"
    variables = [variable for variable in OVERRIDES if os.environ.get(variable)]
    if variables:
        description += f" with {', '.join(variables)}"
        entries |= {OVERRIDES[variable]: os.environ[variable] for variable in variables}
    return Profile(settings.profile, entries, description)


def missing_profile(settings: AccessSettings) -> MlflowException:
    """Return the error that says that there is no such profile, and how to come by one."""
    fault = (
        "has no such profile"
        if os.access(os.path.expanduser(settings.config_file), os.R_OK)
        else "does not exist or may not be read"
    )
    return MlflowException.invalid_parameter_value(
        f"Profile {settings.profile} cannot be read: the file {settings.config_file} {fault}. Make "
        "one with `oci setup config` or `oci session authenticate`, or name another with "
        "?profile=... and ?config_file=... in the tracking URI, or with MLFLOW_OCI_DP_PROFILE and "
        "MLFLOW_OCI_DP_CONFIG_FILE."
    )


def _entries(settings: AccessSettings) -> dict[str, str]:
    import oci.config
    from oci.exceptions import ConfigFileNotFound, InvalidKeyFilePath, ProfileNotFound

    try:
        config = oci.config.from_file(settings.config_file, settings.profile)
    except (ConfigFileNotFound, ProfileNotFound):
        return {}
    except InvalidKeyFilePath as error:
        # Names the path and the line.
        reason = str(error).partition(". For more info")[0]
    except configparser.Error as error:
        reason = f"the file is no OCI configuration file ({type(error).__name__}); correct it"
    except UnicodeDecodeError:
        reason = "the file is not UTF-8 text; correct it"
    except ValueError:
        reason = (
            "log_requests must be true or false, and key_content may not stand in a file; "
            "write key_file, or set OCI_CLI_KEY_CONTENT"
        )
    else:
        return {entry: str(value) for entry, value in config.items() if value}
    raise MlflowException.invalid_parameter_value(
        f"Profile {settings.profile} in {settings.config_file} cannot be used: {reason}."
    )
