use super::*;
use crate::testing::{assert_close, draw, values};

/// Three steps at f32 against the composition at f64.
fn run(dtype: DType, step: impl Fn(&[Var], &Tensor, u64) -> Result<()>) -> Result<Vec<Tensor>> {
    let vars: Vec<Var> = ["w", "m", "v"]
        .iter()
        .map(|name| Var::from_tensor(&(draw((7, 9), name).sqr()? * 0.1)?.to_dtype(dtype)?))
        .collect::<Result<_>>()?;
    for i in 1..=3 {
        step(&vars, &draw((7, 9), &format!("g{i}")).to_dtype(dtype)?, i)?;
    }
    Ok(vars.iter().map(Var::as_detached_tensor).collect())
}

fn check(step: impl Fn(&[Var], &Tensor, u64) -> Result<()>) -> Result<()> {
    for (found, expected) in run(DType::F32, &step)?.iter().zip(run(DType::F64, &step)?) {
        assert_close(found, &values(&expected), 1e-6);
    }
    Ok(())
}

#[test]
fn updates_against_f64() -> Result<()> {
    for (momentum, nesterov, weight_decay) in [(0.0, false, 0.0), (0.9, false, 0.01), (0.9, true, 0.1)] {
        let at = |i| SgdStep { lr: 0.1, momentum, nesterov, weight_decay, first: i == 1 };
        check(|vars, grad, i| sgd_update(&vars[0], grad, Some(&vars[1]), at(i)))?;
        check(|vars, grad, i| sgd_update(&vars[0], grad, None, at(i)))?;
    }
    for decoupled in [false, true] {
        check(|vars, grad, step| {
            let adam =
                AdamStep { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, decoupled, step };
            adam_update(&vars[0], grad, &vars[1], &vars[2], adam)
        })?;
    }
    Ok(())
}

#[test]
fn squared_norms_against_f64() -> Result<()> {
    let x = draw(100_003, "x");
    let expected: f64 = values(&x).iter().map(|v| v * v).sum();
    assert!((squared_norm(&x)? - expected).abs() < 1e-9 * expected);
    assert_eq!(squared_norm(&x.narrow(0, 0, 0)?)?, 0.0);
    Ok(())
}

#[test]
fn invalid_arguments_are_rejected() -> Result<()> {
    let var = Var::from_tensor(&draw(4, "a"))?;
    let step = SgdStep { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.0, first: true };
    let error = |grad: &Tensor, buffer| sgd_update(&var, grad, buffer, step).unwrap_err().to_string();
    let short = error(&draw(3, "g"), None);
    assert!(short.starts_with("sgd_update: [3] for a parameter of [4]"), "{short}");
    for twice in [error(&draw(4, "g"), Some(&var)), error(&var.as_detached_tensor(), None)] {
        assert!(twice.starts_with("sgd_update: a tensor is given twice"), "{twice}");
    }
    Ok(())
}

#[test]
fn two_updates_of_one_tensor_are_rejected() -> Result<()> {
    let sgd = SgdStep { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.0, first: true };
    let (lr, beta1, beta2, eps, weight_decay, decoupled) = (0.1, 0.9, 0.99, 1e-8, 0.0, false);
    let adam = AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step: 1 };
    for dtype in [DType::F32, DType::F64] {
        let grad = draw(4, "g").to_dtype(dtype)?;
        let var = |name: &str| Var::from_tensor(&draw(4, name).to_dtype(dtype)?);
        let (a, b, c, d, e, f) = (var("a")?, var("b")?, var("c")?, var("d")?, var("e")?, var("f")?);
        let update = |var, moments| Update { var, grad: &grad, moments, weight_decay: 0.0 };
        let [cd, ef, fd, fa] = [(&c, &d), (&e, &f), (&f, &d), (&f, &a)].map(|(m, v)| [m.clone(), v.clone()]);
        let check = |words: &str, result: Result<()>| {
            let error = result.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
            assert!(error.contains(words), "{error}");
        };
        let given_twice = |result| check("a tensor is given twice", result);
        for second in [update(&a, &ef), update(&b, &fd), update(&b, &fa)] {
            given_twice(adam_updates(&[update(&a, &cd), second], adam));
        }
        for second in [update(&a, &ef[..1]), update(&b, &cd[..1]), update(&b, &fa[1..])] {
            given_twice(sgd_updates(&[update(&a, &cd[..1]), second], sgd));
        }
        // An update changes the gradient of another, in both orders.
        for moved in [&a, &c, &d] {
            let grad = moved.as_detached_tensor();
            let [first, second] = [update(&a, &cd), Update { grad: &grad, ..update(&b, &ef) }];
            for both in [[first, second], [second, first]] {
                check(
                    "adam_update: a gradient is a parameter or moment of another",
                    adam_updates(&both, adam),
                );
            }
        }
        for moved in [&a, &c] {
            let grad = moved.as_detached_tensor();
            let [first, second] = [update(&a, &cd[..1]), Update { grad: &grad, ..update(&b, &ef[..1]) }];
            for both in [[first, second], [second, first]] {
                check("sgd_update: a gradient is a parameter or moment of another", sgd_updates(&both, sgd));
            }
        }
        for (var, name) in [(&a, "a"), (&b, "b"), (&c, "c"), (&d, "d"), (&e, "e"), (&f, "f")] {
            assert_eq!(values(var), values(&draw(4, name)), "{name} moved");
        }
        sgd_updates(&[update(&a, &cd[..1]), update(&b, &ef[..1])], sgd)?;
        adam_updates(&[update(&a, &cd), update(&b, &ef)], adam)?;
    }
    Ok(())
}
