//! Messages: who they are from, and what is done with them. All of it may block.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::accounts::{Account, DEACTIVATED, VALID};
use super::jws::{Jwk, Message};
use super::links::{Links, Place};
use super::orders::Status;
use super::problem::{Kind, Problem};
use super::{Looking, Request, Server, json_answer, now, set, shares};

/// The type of messages (RFC 8555 section 6.2).
const JOSE: &str = "application/jose+json";
/// An account has at most so many contacts, of so many bytes each.
const CONTACTS_MAX: usize = 10;
const CONTACT_BYTES_MAX: usize = 320;

/// What comes of a message.
pub(super) enum Dealt {
    Answer(Response<Bytes>),
    /// There is something to look at first.
    Look(Looking),
}

/// Whom a message is from.
pub(super) struct Sender {
    pub(super) id: String,
    pub(super) account: Account,
}

/// What a client says of a new account (RFC 8555 section 7.3).
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NewAccount {
    contact: Vec<String>,
    only_return_existing: bool,
    external_account_binding: Option<Value>,
}

/// How a client wants its account to be changed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AccountUpdate {
    contact: Vec<String>,
    status: String,
}

/// How a client wants an authorization to be changed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthorizationUpdate {
    status: String,
}

impl Server {
    /// Deals with a message.
    pub(super) fn deal(&self, place: &Place, links: &Links, request: &Request) -> Result<Dealt, Problem> {
        let message = self.read(request)?;
        let owner = shares::owner(request.client);
        match place {
            Place::NewAccount => return self.new_account(owner, &message, links).map(Dealt::Answer),
            Place::RevokeCertificate => return self.revoke(&message).map(Dealt::Answer),
            _ => {}
        }
        let sender = self.sender(&message)?;
        let is_question = message.payload.is_empty();
        if !is_question && matches!(place, Place::Order(_) | Place::Orders(_) | Place::Certificate(_)) {
            return Err(Problem::malformed("expected POST-as-GET"));
        }
        let answer = match place {
            Place::Account(id) => self.account(id, sender, &message, links)?,
            Place::Orders(id) => self.orders_of(id, &sender, links)?,
            Place::NewOrder => self.new_order(&sender, owner, &message, links)?,
            Place::Order(id) => self.order(id, &sender, links)?,
            Place::Finalize(id) => self.finalize(id, &sender, &message, links)?,
            Place::Authorization(id) => self.authorization(id, &sender, &message, links)?,
            Place::Challenge(authorization, id) => {
                return self.challenge((authorization, id), &sender, !is_question, links);
            }
            Place::Certificate(serial) => self.certificate(serial, &sender)?,
            Place::KeyChange => return Err(Problem::new(Kind::NotImplemented, "")),
            Place::Directory | Place::NewNonce | Place::NewAccount | Place::RevokeCertificate => {
                return Err(Problem::malformed("this is no place for messages"));
            }
        };
        Ok(Dealt::Answer(answer))
    }

    /// Reads a message, which must be meant for where it came, and come for the first time.
    fn read(&self, request: &Request) -> Result<Message, Problem> {
        if request.content_type != JOSE {
            return Err(Problem::malformed(format!(
                "expected content-type {JOSE}, but got {:?}",
                request.content_type
            )));
        }
        let message = Message::read(&request.body)?;
        if !self.state.nonces.take(&message.header.nonce) {
            return Err(Problem::new(Kind::BadNonce, ""));
        }
        let address = format!("https://{}{}", request.host, request.raw_path);
        if message.header.url != address {
            return Err(Problem::malformed(format!(
                "the header's url ({}) does not match the request's ({address})",
                message.header.url
            )));
        }
        Ok(message)
    }

    /// The account that a message is from, if it is signed by its key.
    pub(super) fn sender(&self, message: &Message) -> Result<Sender, Problem> {
        let kid =
            message.header.kid.as_deref().ok_or_else(|| Problem::malformed("signature missing 'kid'"))?;
        let id = kid.rsplit('/').next().unwrap_or_default();
        let account = self.records.account(id)?.ok_or_else(|| Problem::new(Kind::AccountDoesNotExist, ""))?;
        message.verify(&account.key)?;
        if !account.is_valid() {
            return Err(Problem::new(Kind::Unauthorized, "account is not active"));
        }
        if kid != account.location {
            return Err(Problem::new(Kind::Unauthorized, "kid does not match the account's location"));
        }
        Ok(Sender { id: id.to_owned(), account })
    }

    /// The key of a message that shows it, and has signed it.
    pub(super) fn key(message: &Message) -> Result<&Jwk, Problem> {
        let key = message.header.jwk.as_ref();
        let key = key.ok_or_else(|| Problem::malformed("jwk expected in protected header"))?;
        message.verify(key)?;
        Ok(key)
    }

    fn new_account(
        &self,
        owner: IpAddr,
        message: &Message,
        links: &Links,
    ) -> Result<Response<Bytes>, Problem> {
        let key = Self::key(message)?;
        let wish: NewAccount = payload(message)?;
        check_contacts(&wish.contact)?;
        let id = Account::id_of(key);
        let mut turn = self.state.records.take();
        if let Some(account) = self.records.account(&id)? {
            // An id is a part of the key's digest.
            if !account.is_valid() || account.key != *key {
                return Err(Problem::new(Kind::Unauthorized, "account is not active"));
            }
            return Ok(account_answer(StatusCode::OK, &id, &account, links));
        }
        if wish.only_return_existing {
            return Err(Problem::new(Kind::AccountDoesNotExist, ""));
        }
        if wish.external_account_binding.is_some() {
            return Err(Problem::malformed("external account binding is not supported"));
        }
        if !self.state.newcomers().admit(owner, now()) {
            return Err(Problem::new(
                Kind::RateLimited,
                "too many accounts have been made from this address",
            ));
        }
        let location = links.account(&id);
        let account = Account { status: VALID.into(), contact: wish.contact, key: key.clone(), location };
        self.records.add_account(&id, &account, &mut turn)?;
        Ok(account_answer(StatusCode::CREATED, &id, &account, links))
    }

    fn account(
        &self,
        id: &str,
        mut sender: Sender,
        message: &Message,
        links: &Links,
    ) -> Result<Response<Bytes>, Problem> {
        if id != sender.id {
            return Err(Problem::new(Kind::Unauthorized, ""));
        }
        if !message.payload.is_empty() {
            let update: AccountUpdate = payload(message)?;
            match (update.status.as_str(), update.contact.is_empty()) {
                ("", true) => return Ok(account_answer(StatusCode::OK, id, &sender.account, links)),
                ("", false) => check_contacts(&update.contact)?,
                (DEACTIVATED, true) => {}
                (_, false) => {
                    return Err(Problem::malformed("contact and status updates are mutually exclusive"));
                }
                _ => return Err(Problem::malformed("an account can only be deactivated")),
            }
            let _turn = self.state.records.take();
            // Nobody has ended it in the meantime.
            let current = self.records.account(id)?.filter(Account::is_valid);
            let mut current =
                current.ok_or_else(|| Problem::new(Kind::Unauthorized, "account is not active"))?;
            if update.contact.is_empty() {
                current.status = DEACTIVATED.into();
            } else {
                current.contact = update.contact;
            }
            self.records.store_account(id, &current)?;
            sender.account = current;
        }
        Ok(account_answer(StatusCode::OK, id, &sender.account, links))
    }

    fn orders_of(&self, id: &str, sender: &Sender, links: &Links) -> Result<Response<Bytes>, Problem> {
        if id != sender.id {
            return Err(Problem::new(Kind::Unauthorized, ""));
        }
        let open = self.state.orders().open_of(id, now(), &[Status::Pending]);
        let addresses: Vec<String> = open.iter().map(|id| links.order(id)).collect();
        Ok(json_answer(StatusCode::OK, &json!(addresses)))
    }

    fn authorization(
        &self,
        id: &str,
        sender: &Sender,
        message: &Message,
        links: &Links,
    ) -> Result<Response<Bytes>, Problem> {
        if !message.payload.is_empty() {
            let update: AuthorizationUpdate = payload(message)?;
            if update.status != DEACTIVATED {
                return Err(Problem::malformed("an authorization can only be deactivated"));
            }
            self.state.orders().deactivate(id, &sender.id, now())?;
        }
        let document = self.state.orders().authorization_document(id, &sender.id, links, now())?;
        let mut response = json_answer(StatusCode::OK, &document);
        set(response.headers_mut(), LOCATION, &links.authorization(id));
        Ok(response)
    }

    fn challenge(
        &self,
        ids: (&str, &str),
        sender: &Sender,
        client_is_ready: bool,
        links: &Links,
    ) -> Result<Dealt, Problem> {
        let look = self.state.orders().begin_look(ids, &sender.id, client_is_ready, now())?;
        let Some(look) = look else {
            return self.challenge_answer(ids, &sender.id, links).map(Dealt::Answer);
        };
        let answer = sender.account.key.key_authorization(&look.token);
        let (state, account) = (self.state.clone(), sender.id.clone());
        Ok(Dealt::Look(Looking { state, look, account, answer, seen: None }))
    }
}

fn account_answer(status: StatusCode, id: &str, account: &Account, links: &Links) -> Response<Bytes> {
    let mut response = json_answer(status, &account.document(id, links));
    set(response.headers_mut(), LOCATION, &account.location);
    response
}

/// What a message says.
pub(super) fn payload<T: for<'de> Deserialize<'de>>(message: &Message) -> Result<T, Problem> {
    serde_json::from_slice(&message.payload)
        .map_err(|error| Problem::malformed(format!("the payload: {error}")))
}

fn check_contacts(contacts: &[String]) -> Result<(), Problem> {
    if contacts.iter().any(String::is_empty) {
        return Err(Problem::malformed("contact cannot be empty string"));
    }
    if contacts.len() > CONTACTS_MAX || contacts.iter().any(|contact| contact.len() > CONTACT_BYTES_MAX) {
        return Err(Problem::malformed("there are too many contacts, or one is too long"));
    }
    Ok(())
}
