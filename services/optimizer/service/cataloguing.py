"""Loads and shows catalogues of instance types and emission factors."""

from __future__ import annotations

import hashlib

from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.feed import EncodedFeed
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.optimizer.domain.catalogue import InstanceType, StoredCatalogue
from services.optimizer.domain.catalogue_file import read_catalogue
from services.optimizer.domain.emission import EmissionFactor
from services.optimizer.domain.factor_file import read_factors
from services.optimizer.domain.lifecycle import State, StateChange
from services.optimizer.errors import CatalogueNotFound
from services.optimizer.store import catalogues as rows
from services.optimizer.store import recommendations

ACTOR = "system"
# What stands on a catalogue; it is found again where another one has the types.
_STANDING = ("rightsizing", "commitments", "regions", "carbon")


class Catalogues:
    """The use cases of catalogues and factors."""

    def __init__(
        self, database: Database, *, feed: EncodedFeed, tokens: PageTokens, clock: Clock
    ) -> None:
        """feed: of recommendations. clock: dates what is loaded."""
        self._database = database
        self._feed = feed
        self._tokens = tokens
        self._clock = clock

    async def import_catalogue(
        self, tenant_id: str, catalogue_id: str, content: bytes
    ) -> tuple[StoredCatalogue, list[str]]:
        """Loads a file in place of the catalogue before; the same file changes nothing.

        Returns the catalogue and the rows that could not be used. Raises UnreadableFile.
        """
        digest = hashlib.sha256(content).hexdigest()
        loaded = read_catalogue(content, catalogue_id=catalogue_id)
        first = loaded.types[0]
        stored = StoredCatalogue(
            catalogue_id,
            first.provider,
            first.currency_code,
            len(loaded.types),
            digest,
            self._clock.now(),
        )
        async with self._database.transaction(tenant_id) as tx:
            known = await rows.find(tx, tenant_id, catalogue_id)
            is_same = known is not None and known.content_hash == digest
            if not is_same:
                await rows.replace(tx, tenant_id, stored, loaded.types)
            await audit.append(
                tx,
                action="catalogues.import",
                resource=f"instance-catalogues/{catalogue_id}",
                before=None if known is None else {"content_hash": known.content_hash},
                after={"content_hash": digest, "types": len(loaded.types)},
            )
        return (known if known is not None and is_same else stored), list(loaded.problems)

    async def list_catalogues(self, page: PageRequest) -> Page[StoredCatalogue]:
        """Returns a page of catalogues."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_catalogues(tx, page, self._tokens)

    async def delete_catalogue(self, tenant_id: str, catalogue_id: str) -> None:
        """Deletes a catalogue; proposals that stand on one expire. Raises CatalogueNotFound.

        What another catalogue still carries is found again by the next run. What somebody has
        accepted or dismissed stays as it is.
        """
        async with self._database.transaction(tenant_id) as tx:
            if not await rows.remove(tx, tenant_id, catalogue_id):
                raise CatalogueNotFound(catalogue_id=catalogue_id)
            now = self._clock.now()
            for one in await recommendations.alive(tx, tenant_id, _STANDING):
                if one.state is State.PROPOSED:
                    ended = one.moved(State.EXPIRED, now=now)
                    await recommendations.save(tx, ended)
                    change = StateChange(
                        before=one.state,
                        after=ended.state,
                        actor=ACTOR,
                        note=f"catalogue {catalogue_id} was deleted",
                        at=now,
                    )
                    await recommendations.append_event(tx, self._feed, ended, change)
            await audit.append(
                tx,
                action="catalogues.delete",
                resource=f"instance-catalogues/{catalogue_id}",
            )

    async def list_instance_types(self, page: PageRequest) -> Page[InstanceType]:
        """Returns a page of instance types."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_types(tx, page, self._tokens)

    async def import_emission_factors(
        self, tenant_id: str, content: bytes
    ) -> tuple[int, list[str]]:
        """Loads factors, each in place of the one before. Raises UnreadableFile."""
        loaded = read_factors(content)
        async with self._database.transaction(tenant_id) as tx:
            await rows.save_factors(tx, tenant_id, loaded.factors)
            await audit.append(
                tx,
                action="emission_factors.import",
                resource="emission-factors",
                after={"rows": len(loaded.factors)},
            )
        return len(loaded.factors), list(loaded.problems)

    async def list_emission_factors(self, page: PageRequest) -> Page[EmissionFactor]:
        """Returns a page of emission factors."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_factors(tx, page, self._tokens)
