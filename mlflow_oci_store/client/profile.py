"""The OCI profile: who signs, as ``oci setup config`` and ``oci session authenticate`` wrote it.

``oci.config`` reads the file. Over it go the variables with which the OCI CLI and ``aidp-cli``
replace single entries (``OCI_CLI_USER`` and so on), so that a job that has only variables needs no
file. What a profile holds is secret in part: no error here repeats more of it than names of
entries and paths, and errors of the parser, which quote the file, are not chained.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from typing import NamedTuple

from mlflow.exceptions import MlflowException

from mlflow_oci_store.settings import DEFAULTS, Settings

# The same table as in aidp-cli's main module.
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
    """The entries of a profile, with a name for messages that says where they come from."""

    name: str
    entries: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Profile({self.name!r}, {sorted(self.entries)})"

    def path(self, entry: str) -> str:
        """Return the path an entry holds, ``~`` expanded.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if there is no such entry.
        """
        if entry not in self.entries:
            raise MlflowException.invalid_parameter_value(
                f"{self.name} has no {entry}: add it, or choose another kind of authentication "
                "with ?auth=... in the tracking URI or MLFLOW_OCI_DP_AUTH."
            )
        return os.path.expanduser(self.entries[entry])


def read_profile(settings: Settings) -> Profile:
    """Read the profile that the settings name, with the variables that replace its entries.

    Returns:
        The profile. It has no entries if nobody named one, and there is none by default.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, if a profile that was named does not exist, or the
            file cannot be read.
    """
    overrides = {entry: os.environ[name] for name, entry in OVERRIDES.items() if name in os.environ}
    name = f"profile {settings.profile} in {settings.config_file}"
    if overrides:
        variables = [variable for variable, entry in OVERRIDES.items() if entry in overrides]
        name += f" with {', '.join(variables)}"
    entries = _from_file(settings) | overrides
    named = (settings.profile, settings.config_file) != (
        DEFAULTS["profile"],
        DEFAULTS["config_file"],
    )
    if named and not entries:
        raise missing_profile(settings)
    return Profile(name, {entry: value for entry, value in entries.items() if value})


def missing_profile(settings: Settings) -> MlflowException:
    """Return the error that says that there is no such profile, and how to come by one."""
    readable = os.access(os.path.expanduser(settings.config_file), os.R_OK)
    fault = (
        f"The OCI configuration file {settings.config_file} has no profile {settings.profile}"
        if readable
        else f"The OCI configuration file {settings.config_file}, for profile {settings.profile}, "
        "does not exist or may not be read"
    )
    return MlflowException.invalid_parameter_value(
        f"{fault}. Make one with `oci setup config` or `oci session authenticate`, or name another "
        "with ?profile=... and ?config_file=... in the tracking URI."
    )


def _from_file(settings: Settings) -> dict[str, str]:
    import oci.config
    from oci.exceptions import ConfigFileNotFound, InvalidKeyFilePath, ProfileNotFound

    try:
        config = oci.config.from_file(settings.config_file, settings.profile)
    except (ConfigFileNotFound, ProfileNotFound):
        return {}
    except InvalidKeyFilePath:
        raise _unusable(
            settings, "its key_file names a file that does not exist: correct the path"
        ) from None
    except configparser.Error as error:
        reason = f"it is not an INI file ({type(error).__name__}): correct it"
        raise _unusable(settings, reason) from None
    except UnicodeDecodeError:
        raise _unusable(settings, "it is not UTF-8 text: correct it") from None
    except ValueError:
        raise _unusable(
            settings,
            "log_requests must be true or false, and key_content is not allowed in a file: "
            "set OCI_CLI_KEY_CONTENT or write key_file instead",
        ) from None
    return {entry: str(value) for entry, value in config.items() if value}


def _unusable(settings: Settings, reason: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(
        f"Profile {settings.profile} in {settings.config_file} cannot be used: {reason}."
    )
